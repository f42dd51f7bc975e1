//! An application that speaks the contract without the SDK, and breaks it.
//!
//! In: a path, which names the fault. Out: whatever the host makes of it; what the host's functions returned is at
//! `/report`, and how often things happened at `/counts`.
//! Never: touches memory that is not its own. A host can answer each of its faults with a code, and go on.
#![expect(unsafe_code, reason = "it is one side of a C ABI")]

mod answers;
mod bodies;
mod host;
mod record;
mod sinks;
mod streams;
mod tasks;
mod tokens;

use std::ffi::c_void;

use cohost_abi::{self as abi, Code, app_flags, code};

use host::{Call, Host};

/// What the host looks for.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the name is the contract's")]
pub static cohost_app_v1: abi::App = abi::App {
    magic: abi::MAGIC,
    size: size_of::<abi::App>(),
    major: abi::ABI_MAJOR,
    minor: abi::ABI_MINOR,
    min_host_minor: 0,
    reserved: 0,
    max_concurrency: 0,
    flags: app_flags::RUNTIME,
    requires_features: 0,
    name: c"test-raw-app".as_ptr(),
    version: c"0.1.0".as_ptr(),
    sdk: c"none".as_ptr(),
    init: Some(init),
    handle: Some(handle),
    drain: None,
    shutdown: Some(shutdown),
    event: None,
};

#[used]
#[unsafe(link_section = ".note.cohost")]
static NOTE: abi::Note = abi::Note::new(app_flags::RUNTIME, 0);

unsafe extern "C" fn init(
    host: *const abi::Host,
    _: *const abi::Init,
    _: *mut abi::Error,
    instance: *mut *mut c_void,
) -> Code {
    // SAFETY: the host's, to be written on success. There is no state but the host's table.
    unsafe { instance.write(host.cast_mut().cast()) };
    code::DONE
}

unsafe extern "C" fn handle(
    instance: *mut c_void,
    req: *mut abi::Req,
    head: *const abi::Head,
    waker: *const abi::Waker,
    task: *mut abi::Task,
) -> Code {
    let host = Host::new(instance.cast());
    // SAFETY: the host keeps all of them alive until this returns.
    let call = unsafe { Call::new(host, req, head, waker, task) };
    let path = call.path();
    let (name, number) = path.split_once('/').unwrap_or((path, ""));
    route(&call, name, number.parse().ok())
}

fn route(call: &Call<'_>, name: &str, number: Option<i64>) -> Code {
    match name {
        "" | "sync" => call.say("ok\n"),
        "report" => call.say(&record::report()),
        "counts" => call.say(&record::counts()),
        _ => answers::route(call, name, number)
            .or_else(|| bodies::route(call, name))
            .or_else(|| streams::route(call, name))
            .or_else(|| tasks::route(call, name))
            .or_else(|| tokens::route(call, name, number))
            .or_else(|| sinks::route(call, name, number))
            .unwrap_or_else(|| call.respond(&host::empty(404))),
    }
}

unsafe extern "C" fn shutdown(instance: *mut c_void, _: u64) -> Code {
    host::join_threads();
    let host = Host::new(instance.cast());
    host.log(&format!("at the end, {}", sinks::write_to_kept(host)));
    code::DONE
}
