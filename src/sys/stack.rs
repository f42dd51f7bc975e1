//! Where another thread of this process is: its stack, while it goes on executing whatever it executes.
//!
//! In: the system's number of a thread. Out: the functions that it is in, innermost first. Never: waits for longer than a
//! moment: a thread that the system itself holds does not answer.
//!
//! The thread is sent a signal, and walks its own stack in the handler; what the addresses mean is looked up here. The
//! handler stays for as long as the process, since a thread may come to it late.
#![expect(unsafe_code, reason = "signal handlers are known to the system only")]

use std::{
    ffi::{c_int, c_void},
    fmt::Write as _,
    mem, ptr,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// How many functions are told.
const DEPTH: usize = 64;

/// How long the thread may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// The thread that is to answer; 0 if none is.
static ASKED: AtomicU32 = AtomicU32::new(0);
/// How many addresses it has written, and one more, once it is done.
static WRITTEN: AtomicUsize = AtomicUsize::new(0);
static ADDRESSES: [AtomicUsize; DEPTH] = [const { AtomicUsize::new(0) }; DEPTH];

/// Where a thread is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stack {
    /// In these functions, as text, innermost first.
    Functions(String),
    /// There is no such thread.
    Gone,
    /// It does not answer.
    Silent,
}

/// Asks a thread where it is. One question at a time; the others wait.
pub(crate) fn of(thread: u32) -> Stack {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(signal) = handler() else { return Stack::Silent };
    WRITTEN.store(0, Ordering::Relaxed);
    ASKED.store(thread, Ordering::Release);
    if !send(thread, signal) {
        ASKED.store(0, Ordering::Relaxed);
        return Stack::Gone;
    }
    let until = Instant::now() + PATIENCE;
    let written = loop {
        match WRITTEN.load(Ordering::Acquire) {
            0 if Instant::now() < until => std::thread::park_timeout(Duration::from_millis(1)),
            0 => break None,
            written => break Some(written - 1),
        }
    };
    // From here on it would answer nobody.
    ASKED.store(0, Ordering::Relaxed);
    let Some(written) = written else { return Stack::Silent };
    let addresses: Vec<_> = ADDRESSES[..written].iter().map(|it| it.load(Ordering::Relaxed)).collect();
    Stack::Functions(named(&addresses))
}

/// The signal that threads are asked by, once they have a handler for it.
fn handler() -> Option<c_int> {
    static HANDLER: OnceLock<Option<c_int>> = OnceLock::new();
    *HANDLER.get_or_init(|| {
        // One of those that mean nothing to anybody; the first ones are taken by some runtimes.
        let signal = libc::SIGRTMAX() - 3;
        // SAFETY: all of it are numbers, and zero is no flags and no signals.
        let mut ours: libc::sigaction = unsafe { mem::zeroed() };
        ours.sa_sigaction = on_signal as *const () as usize;
        // On the stack that the thread is on: it is walked over.
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        // SAFETY: the handler keeps to what is allowed in one.
        let set = unsafe { libc::sigaction(signal, &raw const ours, ptr::null_mut()) };
        (set == 0).then_some(signal)
    })
}

fn send(thread: u32, signal: c_int) -> bool {
    // SAFETY: only sends the signal, which has a handler, to a thread of this process.
    unsafe { libc::syscall(libc::SYS_tgkill, std::process::id(), thread, signal) == 0 }
}

extern "C" fn on_signal(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: asks for a number.
    let thread = unsafe { libc::gettid() };
    let is_asked = || ASKED.load(Ordering::Acquire) == thread.unsigned_abs();
    if !is_asked() {
        return;
    }
    // SAFETY: every thread has its own, which is there for as long as the thread.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { errno.read() };
    // SAFETY: the system passes it, for as long as the handler runs.
    let (instruction, _) = super::crash::place(unsafe { &*context.cast::<libc::ucontext_t>() });
    let mut depth = 0;
    let mut note = |frame: &backtrace::Frame| {
        let address = frame.ip().addr();
        // What lies above is this handler.
        if depth > 0 || instruction == 0 || address as u64 == instruction {
            ADDRESSES[depth].store(address, Ordering::Relaxed);
            depth += 1;
        }
        // It may have taken so long that another one is asked by now.
        depth < DEPTH && is_asked()
    };
    // SAFETY: nobody else walks with this crate, and only one thread is asked at a time; the walk takes no memory, and no
    // lock where the system's library has none for it. Where it has, the thread that asked waits no longer than it likes.
    unsafe { backtrace::trace_unsynchronized(&mut note) };
    if depth == 0 {
        // It could not be walked through the handler; then this is all there is.
        ADDRESSES[0].store(instruction as usize, Ordering::Relaxed);
        depth = 1;
    }
    if is_asked() {
        WRITTEN.store(depth + 1, Ordering::Release);
    }
    // SAFETY: as above.
    unsafe { errno.write(before) };
}

/// What is at these addresses, as far as somebody knows: `function (file:line) < caller (file:line) < …`.
fn named(addresses: &[usize]) -> String {
    let mut text = String::new();
    for address in addresses {
        let before = text.len();
        backtrace::resolve(ptr::without_provenance_mut(*address), |symbol| {
            let Some(name) = symbol.name() else { return };
            let separator = if text.is_empty() { "" } else { " < " };
            let _ = write!(text, "{separator}{name:#}");
            if let (Some(file), Some(line)) = (symbol.filename(), symbol.lineno()) {
                let file = file.file_name().unwrap_or_default();
                let _ = write!(text, " ({}:{line})", file.display());
            }
        });
        if text.len() == before {
            let separator = if text.is_empty() { "" } else { " < " };
            let _ = write!(text, "{separator}{address:#x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[inline(never)]
    fn wait_for_the_test(told: &mpsc::Sender<u32>, end: &mpsc::Receiver<()>) {
        told.send(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()).unwrap();
        let _ended = end.recv();
        std::hint::black_box(end);
    }

    #[test]
    fn a_thread_tells_where_it_is_and_goes_on() {
        let ((told, thread), (end, ended)) = (mpsc::channel(), mpsc::channel());
        let waiting = std::thread::spawn(move || wait_for_the_test(&told, &ended));
        let number = thread.recv().unwrap();
        for _ in 0..2 {
            let Stack::Functions(stack) = of(number) else { panic!("it answers") };
            assert!(stack.contains("wait_for_the_test"), "{stack}");
        }
        end.send(()).unwrap();
        waiting.join().unwrap();
        let gone = || matches!(of(number), Stack::Gone);
        assert!((0..1000).any(|_| gone()), "its number is nobody's any more");
    }
}
