//! Notes where a thread was when a signal is about to end the process.
//!
//! In: words to note it in. Out: nothing; another process reads them when this one is gone. Never: keeps the signal from
//! what it would have done otherwise: a handler that was there before runs, and without one the system ends the process,
//! with a core file where it writes one.
//!
//! What runs in the handler touches these words, asks the system, and nothing else: no memory is taken, no lock, nothing
//! that belongs to the thread.
#![expect(unsafe_code, reason = "signal handlers are known to the system only")]

use std::{
    ffi::{c_int, c_void},
    io, mem, ptr,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Words of a note.
pub(crate) const CLAIMED: usize = 0;
pub(crate) const THREAD: usize = 1;
pub(crate) const PROCESS: usize = 2;
/// 0 for a call of `exit`.
pub(crate) const SIGNAL: usize = 3;
pub(crate) const ADDRESS: usize = 4;
pub(crate) const INSTRUCTION: usize = 5;
/// In bytes.
pub(crate) const STACK_LENGTH: usize = 6;

/// How much of the stack is kept, in words.
pub(crate) const STACK_WORDS: usize = 1024;

/// Signals by which a process ends when its code did what cannot be done.
const SIGNALS: [c_int; 7] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGABRT,
    // What `__builtin_trap` and `abort` of Rust are on some machines, and a breakpoint that was forgotten on all.
    libc::SIGTRAP,
    // A system call that a sandbox does not allow.
    libc::SIGSYS,
];

struct Noting {
    note: &'static [AtomicU64],
    stack: &'static [AtomicU64],
    /// What was to happen before, in the order of [`SIGNALS`].
    previous: [libc::sigaction; SIGNALS.len()],
}

static NOTING: OnceLock<Noting> = OnceLock::new();

/// From now on, notes signals and calls of `exit`. Once for the process; later calls do nothing.
///
/// # Errors
/// The system refused.
pub(crate) fn note_into(note: &'static [AtomicU64], stack: &'static [AtomicU64]) -> io::Result<()> {
    static ONCE: AtomicBool = AtomicBool::new(false);
    assert!(note.len() > STACK_LENGTH && stack.len() >= STACK_WORDS, "room for a note");
    if ONCE.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let mut previous = SIGNALS.map(|_| default());
    for (signal, previous) in SIGNALS.into_iter().zip(&mut previous) {
        // SAFETY: both are valid; a null pointer for the new one asks only.
        check(unsafe { libc::sigaction(signal, ptr::null(), previous) })?;
    }
    let _ = NOTING.set(Noting { note, stack, previous });
    // Before handlers: what is written last is run first at the exit, and this is to be run last.
    // SAFETY: the function may be called at any time, as it touches atomics only.
    check(unsafe { libc::atexit(on_exit) })?;
    let mut ours = default();
    ours.sa_sigaction = on_signal as *const () as usize;
    // On the stack that threads have for that, since theirs may be full; where a thread has none, the system ends the
    // process.
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    for signal in SIGNALS {
        // SAFETY: the handler keeps to what is allowed in one.
        check(unsafe { libc::sigaction(signal, &raw const ours, ptr::null_mut()) })?;
    }
    Ok(())
}

fn default() -> libc::sigaction {
    // SAFETY: all of it are numbers, and zero is the default action, no flags, and no signals.
    unsafe { mem::zeroed() }
}

fn check(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

extern "C" fn on_signal(signal: c_int, about: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(noting) = NOTING.get() else { return };
    // SAFETY: the system passes what it says, for as long as the handler runs.
    let about = unsafe { &*about };
    // SAFETY: as above.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    if claim(noting.note, signal) {
        let (instruction, stack) = place(context);
        // SAFETY: the field is there for the signals that are about an address, and a number for the others.
        let address = unsafe { about.si_addr() };
        noting.note[ADDRESS].store(address.addr() as u64, Ordering::Relaxed);
        noting.note[INSTRUCTION].store(instruction, Ordering::Relaxed);
        let length = copy(stack, noting.stack);
        noting.note[STACK_LENGTH].store(length, Ordering::Relaxed);
    }
    let place = SIGNALS.iter().position(|known| *known == signal).unwrap_or_default();
    // SAFETY: what the system itself has said before.
    unsafe { libc::sigaction(signal, &raw const noting.previous[place], ptr::null_mut()) };
    // What code did happens again as soon as it goes on, and with it the signal. One that was sent does not, and neither
    // does what comes only after an instruction.
    if about.si_code <= 0 || matches!(signal, libc::SIGTRAP | libc::SIGSYS) {
        // SAFETY: allowed in a handler; it waits until this one has returned.
        unsafe { libc::raise(signal) };
    }
}

extern "C" fn on_exit() {
    if let Some(noting) = NOTING.get() {
        claim(noting.note, 0);
    }
}

/// Whether this is the first: only that one is noted, as what follows is its consequence.
fn claim(note: &[AtomicU64], signal: c_int) -> bool {
    // SAFETY: asks for a number.
    let thread = unsafe { libc::gettid() };
    if note[CLAIMED].compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return false;
    }
    note[THREAD].store(u64::from(thread.unsigned_abs()), Ordering::Relaxed);
    note[PROCESS].store(std::process::id().into(), Ordering::Relaxed);
    note[SIGNAL].store(u64::from(signal.unsigned_abs()), Ordering::Relaxed);
    true
}

/// Copies the stack from its top on, as far as there is memory; returns how many bytes that were.
///
/// The system copies, because it does not fault.
fn copy(stack: u64, into: &[AtomicU64]) -> u64 {
    const PAGE: u64 = 4096;
    let wanted = (STACK_WORDS * size_of::<u64>()) as u64;
    let room = libc::iovec { iov_base: into.as_ptr().cast_mut().cast(), iov_len: wanted as usize };
    // Page by page: the system copies a piece whole or not at all.
    let first = PAGE - stack % PAGE;
    // It may be anywhere: the thread has crashed.
    let after = |length: u64| stack.wrapping_add(length);
    let pieces = [(stack, first), (after(first), PAGE), (after(first + PAGE), wanted - first - PAGE)];
    let pieces = pieces.map(|(from, length)| libc::iovec {
        iov_base: ptr::with_exposed_provenance_mut(from as usize),
        iov_len: length as usize,
    });
    // SAFETY: asks for a number.
    let this = unsafe { libc::getpid() };
    // SAFETY: there is room for all of it, in words that may hold anything; where it is read from need not exist.
    let copied =
        unsafe { libc::process_vm_readv(this, &raw const room, 1, pieces.as_ptr(), pieces.len() as u64, 0) };
    u64::try_from(copied).unwrap_or_default()
}

/// Where the thread was, and where its stack ended.
#[cfg(target_arch = "x86_64")]
pub(super) fn place(context: &libc::ucontext_t) -> (u64, u64) {
    let registers = &context.uc_mcontext.gregs;
    (registers[libc::REG_RIP as usize].cast_unsigned(), registers[libc::REG_RSP as usize].cast_unsigned())
}

#[cfg(target_arch = "aarch64")]
pub(super) fn place(context: &libc::ucontext_t) -> (u64, u64) {
    (context.uc_mcontext.pc, context.uc_mcontext.sp)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn place(_: &libc::ucontext_t) -> (u64, u64) {
    (0, 0)
}
