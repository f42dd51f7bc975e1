//! What stands in front of applications: behaviours 50 to 59, under both models.

// Certificates that the host orders by itself.
mod acme;

// Who may come in, by what they know.
mod auth;

// What pages of other origins may.
mod cors;

// The examples of configurations.
mod examples;
// Answers that are compressed, and requests that are unpacked.
mod compression;

// Servers that somebody else runs, as an application.
mod balance;
mod outward;
mod upstream;

// Files that are sent as they are.
mod files;
// Fields of answers.
mod headers;

// Clear text, TLS, and the one name of a site.
mod https;

// Which requests are let through, by what is written in them.
mod filter;
// Rules that give requests another path, or answer them.
mod rewrite;

// Which clients may come in.
mod ip;

// How many requests clients may make.
mod limit;

// For whom a proxy speaks, and who is believed.
mod proxies;

// Certificates: what is wrong with them, and how they are renewed.
mod certificates;

// Certificates of clients, and those that were revoked.
mod clients;
mod revocation;

// What a scanner finds out.
mod scanned;

// A browser.
mod browser;

// Bindings that speak TLS.
mod tls;
