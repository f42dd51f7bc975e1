//! A host for web applications that are dynamic libraries: in process over a C ABI, or as supervised child processes.
//!
//! [`Application`] is one hosted application, and a tower service: mount it in a router of your own, or let [`Server`]
//! serve it behind a [`router`]. The modules are the stages of a request's way; `docs/ARCHITECTURE.md` is the map.

#[cfg(feature = "acme")]
pub mod acme;
#[cfg(feature = "admin")]
pub mod admin;
pub mod application;
mod authority;
pub mod body;
#[cfg(feature = "config")]
pub mod config;
pub mod dispatcher;
#[cfg(any(feature = "front", feature = "out-of-process"))]
mod endpoint;
pub mod facts;
pub mod failure;
mod fields;
mod files;
#[cfg(any(feature = "config", feature = "server"))]
pub mod forwarded;
#[cfg(feature = "front")]
pub mod front;
mod hosting_model;
pub mod http;
#[cfg(feature = "config")]
pub mod import;
#[cfg(feature = "server")]
pub mod listener;
#[cfg(any(feature = "admin", feature = "config"))]
mod nearest;
pub mod options;
#[cfg(any(feature = "front", feature = "out-of-process"))]
#[cfg_attr(
    not(feature = "out-of-process"),
    allow(dead_code, unused_imports, reason = "forwarders use all of it, the front less")
)]
pub mod outward;
#[cfg(any(feature = "front", feature = "server"))]
mod path;
pub mod pipeline;
mod private;
mod queue;
pub mod recorder;
mod room;
pub mod router;
#[cfg(feature = "out-of-process")]
pub mod runner;
#[cfg(feature = "server")]
pub mod server;
pub mod stage;
#[cfg(feature = "server")]
mod stop;
pub mod supervisor;
mod sys;
mod telemetry;

pub use application::Application;
pub use body::Body;
pub use failure::Failure;
pub use hosting_model::{ConfiguredModel, HostingModel, UnknownHostingModel};
pub use options::Options;
#[cfg(feature = "out-of-process")]
pub use runner::enter_if_asked;
#[cfg(feature = "server")]
pub use server::Server;
#[cfg(feature = "out-of-process")]
pub use telemetry::output;

/// The Rust code in README.md is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
