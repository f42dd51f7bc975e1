//! The contract between the host and an application library: C types, C functions, constants.
//!
//! `include/cohost.h` says the same in C and is where the contract is *documented*: the trust model, and for every
//! function who calls it, when, on which thread, who owns what, and what happens on misuse. This crate gives the
//! same names to Rust, without the prefix `cohost_`; `tests/layout.rs` holds the two together.
//!
//! There is nothing to execute here: no dependency, no allocation, no function body. The host's side of the seam is
//! `cohost::dispatcher::in_process::ffi`, the application's is `cohost_app::ffi`.

#![no_std]

mod app;
mod body;
mod head;
mod headers;
mod host;
mod response;
mod values;

pub use app::{App, Error, Init, MAGIC, Note, app_flags, event};
pub use body::{Frame, Stream, frame_kind};
pub use head::{Addr, Conn, Head, NO_LENGTH, Tls, family, head_flags, method_id};
pub use headers::{HEADER_NAMES, Header, header_flags, header_id};
pub use host::{Callsite, Host, Informational, Value, features, interest, level, value_kind};
pub use response::{File, Response, Task, Upgrade, body_kind, file_flags};
pub use values::{Body, Bytes, Code, Io, Req, Sink, Str, Token, Waker, WakerTable, bytes_flags, code};

/// Major version of this contract. A library and a host of different majors never meet: the symbol differs.
pub const ABI_MAJOR: u16 = 1;

/// Minor version of this contract: grows when a field, a function or a constant is added at an end.
pub const ABI_MINOR: u16 = 0;

/// The one symbol that an application library exports: a [`App`], as data. The name carries the major version.
pub const ENTRY_SYMBOL: &str = "cohost_app_v1";

/// Name of the section that holds the [`Note`].
pub const NOTE_SECTION: &str = ".note.cohost";

/// Type of the ELF note, its owner being [`NOTE_OWNER`].
pub const NOTE_TYPE: u32 = 0x4148_0001;

/// Owner of the ELF note, with the terminating NUL and padding that ELF asks for.
pub const NOTE_OWNER: [u8; 8] = *b"Cohost\0\0";
