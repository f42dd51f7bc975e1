//! The host's table of functions, safe to call.
//!
//! In: Rust values. Out: the C call and its result as a Rust value.
//! Never: takes something of a request's (those calls are beside the types they belong to).

use cohost_abi::{self as abi, Code, Informational, Str, code};

/// The host that loaded this library. Its table lives as long as the process.
#[derive(Clone, Copy)]
pub(crate) struct Host(&'static abi::Host);

// SAFETY: the contract allows the functions of the table on any thread; `ctx` is never touched here.
unsafe impl Send for Host {}
// SAFETY: as above, and nothing writes to the table.
unsafe impl Sync for Host {}

impl Host {
    /// The host behind `table`, or `None` when it is older than this crate can live with.
    ///
    /// # Safety
    /// `table` is null, or what a host passed to `init`.
    pub(super) unsafe fn new(table: *const abi::Host) -> Option<Self> {
        if table.is_null() {
            return None;
        }
        // SAFETY: not null; `size` is the first field in every version. No reference yet: the table may be smaller.
        let size = unsafe { (*table).size };
        if size < size_of::<abi::Host>() {
            return None;
        }
        // SAFETY: large enough for the type, and valid for as long as the process lives, by contract.
        let table = unsafe { &*table };
        (table.major == abi::ABI_MAJOR).then_some(Self(table))
    }

    pub(super) const fn table(self) -> &'static abi::Host {
        self.0
    }

    /// The value of a setting, or all of them as JSON under the empty key.
    pub(crate) fn setting(self, key: &str) -> Option<Vec<u8>> {
        let mut value = Str::EMPTY;
        // SAFETY: `key` is borrowed for the call; `value` is ours to be written.
        let code = unsafe { (self.0.config_get)(self.0, Str::new(key.as_bytes()), &raw mut value) };
        if code != code::DONE {
            return None;
        }
        // SAFETY: on success the host keeps the value readable at least until the application's next call; it is
        // copied here and now.
        Some(unsafe { super::slice(value) }.to_vec())
    }

    /// Opens or closes the gate for requests.
    pub(crate) fn set_ready(self, ready: bool) {
        // SAFETY: may be called from any thread, at any time after `init` began.
        unsafe { (self.0.set_ready)(self.0, i32::from(ready)) };
    }

    /// Makes a callsite known: the host's interest in it, and its number there.
    #[cfg(feature = "tracing")]
    pub(crate) fn log_register(self, site: &Site<'_>) -> (u32, u64) {
        let fields: Vec<Str> = site.fields.iter().map(|name| Str::new(name.as_bytes())).collect();
        let callsite = abi::Callsite {
            size: size_of::<abi::Callsite>(),
            level: site.level,
            line: site.line,
            target: Str::new(site.target.as_bytes()),
            file: Str::new(site.file.as_bytes()),
            name: Str::new(site.name.as_bytes()),
            fields: fields.as_ptr(),
            n_fields: fields.len(),
        };
        let mut id = 0;
        // SAFETY: everything the callsite points to lives until the end of this function; the host copies it.
        let interest = unsafe { (self.0.log_register)(self.0, &raw const callsite, &raw mut id) };
        (interest, id)
    }

    /// Whether an event of the callsite `id` would be written now.
    #[cfg(feature = "tracing")]
    pub(crate) fn log_enabled(self, id: u64) -> bool {
        // SAFETY: any thread; a number the host does not know is answered with 0.
        unsafe { (self.0.log_enabled)(self.0, id) != 0 }
    }

    /// Writes an event of the callsite `id`.
    #[cfg(feature = "tracing")]
    pub(crate) fn log_event(self, id: u64, request_id: u64, values: &[(u32, Value<'_>)]) {
        let values: smallvec::SmallVec<[abi::Value; 16]> =
            values.iter().map(|(field, value)| value.at(*field)).collect();
        // SAFETY: the values, and the text they borrow, live until the call is over; the host copies.
        unsafe { (self.0.log_event)(self.0, id, request_id, values.as_ptr(), values.len()) };
    }

    /// Writes a line of text.
    pub(crate) fn log_text(self, level: u32, request_id: u64, target: &str, message: &str) {
        let (target, message) = (Str::new(target.as_bytes()), Str::new(message.as_bytes()));
        // SAFETY: both texts are borrowed for the call; the host copies.
        unsafe { (self.0.log_text)(self.0, level, request_id, target, message) };
    }

    /// The extension that sends 1xx responses, of a host that has it.
    pub(super) fn informational(self) -> Option<&'static Informational> {
        // SAFETY: the name is NUL-terminated and static.
        let table = unsafe { (self.0.query)(self.0, c"informational.v1".as_ptr()) };
        // SAFETY: null, or a table of this type that lives as long as the host's, by contract.
        let table = unsafe { table.cast::<Informational>().as_ref() }?;
        (table.size >= size_of::<Informational>()).then_some(table)
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("minor", &self.0.minor).field("threads", &self.0.threads).finish()
    }
}

/// A place in the code that logs.
#[cfg(feature = "tracing")]
pub(crate) struct Site<'a> {
    pub(crate) level: u32,
    pub(crate) line: u32,
    pub(crate) target: &'a str,
    pub(crate) file: &'a str,
    pub(crate) name: &'a str,
    pub(crate) fields: &'a [&'a str],
}

/// A typed value of a log event.
#[cfg(feature = "tracing")]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    Unsigned(u64),
    Signed(i64),
    Bool(bool),
    Float(f64),
}

#[cfg(feature = "tracing")]
impl Value<'_> {
    fn at(self, field: u32) -> abi::Value {
        use cohost_abi::value_kind;
        let none = abi::Value { field, kind: value_kind::U64, u: 0, f: 0.0, s: Str::EMPTY };
        match self {
            Self::Text(text) => abi::Value { kind: value_kind::STR, s: Str::new(text.as_bytes()), ..none },
            Self::Unsigned(number) => abi::Value { u: number, ..none },
            Self::Signed(number) => abi::Value { kind: value_kind::I64, u: number.cast_unsigned(), ..none },
            Self::Bool(truth) => abi::Value { kind: value_kind::BOOL, u: u64::from(truth), ..none },
            Self::Float(number) => abi::Value { kind: value_kind::F64, f: number, ..none },
        }
    }
}

/// What a code from the host means, for messages.
pub(crate) fn describe(code: Code) -> &'static str {
    match code {
        code::E_INVALID => "malformed",
        code::E_GONE => "the client went away",
        code::E_STATE => "not in this phase of the request",
        code::E_UNSUPPORTED => "not supported here",
        code::E_TOO_LARGE => "larger than the host allows",
        code::E_IO => "reading or writing failed",
        code::E_NOMEM => "out of memory",
        code::E_BUSY => "in use by another thread",
        code::E_TIMEOUT => "the request's deadline passed",
        code::E_DRAINING => "the application is being drained and its time is over",
        _ => "the host reported a failure",
    }
}
