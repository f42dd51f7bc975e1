//! What belongs to no request: settings, log, readiness, optional tables. There until `shutdown` has returned.
#![expect(unsafe_code, reason = "the seam")]

use std::ffi::{CStr, c_char, c_void};

use cohost_abi::{self as abi, Code, code};

use super::{
    super::{log, slice},
    entry, generation,
    informational::INFORMATIONAL,
};
use crate::dispatcher::in_process::generation::Generation;

/// Does what an application asks for, until it is shut down.
///
/// # Safety
/// `host` is null or a table of ours.
unsafe fn serve(host: *const abi::Host, call: impl FnOnce(&'static Generation) -> Option<Code>) -> Code {
    entry(|| {
        // SAFETY: says the caller.
        let generation = unsafe { generation(host) }?;
        if generation.has_ended() { Some(code::E_STATE) } else { call(generation) }
    })
}

pub(super) unsafe extern "C" fn config_get(
    host: *const abi::Host,
    key: abi::Str,
    value: *mut abi::Str,
) -> Code {
    let get = |generation: &'static Generation| {
        // SAFETY: the contract's.
        let value = unsafe { value.as_mut() }?;
        // SAFETY: the contract's.
        let key = std::str::from_utf8(unsafe { slice(key) }).ok()?;
        let settings = &generation.settings;
        let found = if key.is_empty() { Some(&settings.json) } else { settings.values.get(key) };
        *value = found.map_or(abi::Str::EMPTY, |found| abi::Str::new(found.as_bytes()));
        Some(if found.is_some() { code::DONE } else { code::EOF })
    };
    // SAFETY: the contract's.
    unsafe { serve(host, get) }
}

pub(super) unsafe extern "C" fn log_register(
    host: *const abi::Host,
    site: *const abi::Callsite,
    id: *mut u64,
) -> u32 {
    let mut interest = abi::interest::NEVER;
    let register = |_: &'static Generation| {
        // SAFETY: the contract's.
        interest = unsafe { log::register(site, id) };
        Some(code::DONE)
    };
    // SAFETY: the contract's.
    unsafe { serve(host, register) };
    interest
}

pub(super) unsafe extern "C" fn log_enabled(host: *const abi::Host, id: u64) -> u32 {
    let mut enabled = abi::interest::NEVER;
    let ask = |_: &'static Generation| {
        enabled = log::enabled(id);
        Some(code::DONE)
    };
    // SAFETY: the contract's.
    unsafe { serve(host, ask) };
    enabled
}

pub(super) unsafe extern "C" fn log_event(
    host: *const abi::Host,
    id: u64,
    request: u64,
    values: *const abi::Value,
    n: usize,
) {
    let write = |generation: &'static Generation| {
        // SAFETY: the contract's.
        unsafe { log::event(generation, id, request, values, n) };
        Some(code::DONE)
    };
    // SAFETY: the contract's.
    unsafe { serve(host, write) };
}

pub(super) unsafe extern "C" fn log_text(
    host: *const abi::Host,
    level: u32,
    request: u64,
    target: abi::Str,
    message: abi::Str,
) {
    let write = |generation: &'static Generation| {
        // SAFETY: the contract's.
        let target = String::from_utf8_lossy(unsafe { slice(target) });
        // SAFETY: the contract's.
        let message = String::from_utf8_lossy(unsafe { slice(message) });
        log::text(generation, level, request, &target, &message);
        Some(code::DONE)
    };
    // SAFETY: the contract's.
    unsafe { serve(host, write) };
}

pub(super) unsafe extern "C" fn set_ready(host: *const abi::Host, ready: i32) -> Code {
    let set = |generation: &'static Generation| {
        generation.set_ready(ready != 0);
        Some(code::DONE)
    };
    // SAFETY: the contract's.
    unsafe { serve(host, set) }
}

pub(super) unsafe extern "C" fn query(host: *const abi::Host, name: *const c_char) -> *const c_void {
    let mut table = std::ptr::null();
    let find = |_: &'static Generation| {
        if name.is_null() {
            return None;
        }
        // SAFETY: not null, and NUL-terminated as the contract has it.
        if unsafe { CStr::from_ptr(name) } == c"informational.v1" {
            table = (&raw const INFORMATIONAL).cast();
        }
        Some(code::DONE)
    };
    // SAFETY: the contract's.
    unsafe { serve(host, find) };
    table
}
