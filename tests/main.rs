//! cohost from outside: the real program, real libraries, real sockets. One binary, so that it is linked once.
#![expect(clippy::unwrap_used, reason = "in a test, a surprise is a failure")]
#![allow(
    unreachable_pub,
    clippy::print_stderr,
    reason = "a kit inside a binary, which tells why a test failed"
)]

mod host;

// What an application sees of a request, and a client of its answer; under both models.
mod request_and_response;

// How much, how long, and how an answer ends; under both models.
mod limits_and_endings;

// Clients that mean harm, or are broken; under both models.
mod hostile;

// What requests pass before they come to an application.
mod front;

// What one application may take of the machine.
mod confinement;

// An unmodified gRPC client.
mod grpc;

// A gigabyte in each direction.
mod bulk;

// Applications that break the contract, or keep the thread: each is harmless.
mod misbehaviour;

// The end of the host, and of what is in flight then.
mod stopping;

// Crashes, replacements and everything else that the supervisor sees to while clients go on.
mod supervision;

// What operators ask a running host, and tell it.
mod operator;

// What applications print: in order, in files that are rotated, whatever happens to the disk.
mod printed;

// Programs at their worst: what they do harms only themselves, and nothing of it stays.
mod misconduct;

// The host's own log: its level, and readers who stop reading.
mod log;

// Instances: processes that are started, watched and ended.
mod instances;

// Instances that outlive those who have them.
mod lending;

// From nothing to an application that serves: when, once, and what requests hear meanwhile.
mod start;

// Files that are no application library, or none that starts: what is said, and what goes on.
mod broken_libraries;

// Copies of libraries, which nobody writes to.
mod pins;

// Hosts and applications of different versions of the contract.
mod versions;

// Programs that know nothing of the host.
mod foreign;

// The library inside somebody else's program.
mod embedding;

// What holds in the source itself: imports, seams, names, pages.
mod tidy;
