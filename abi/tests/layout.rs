//! The header and this crate say the same.
//!
//! In: `include/cohost.h` and the crate's types. A C program and a C++ program print every size, alignment, offset,
//! field size, field type and constant as their compiler sees them; here stands what Rust sees. Field sizes and types
//! are compared because padding hides a wrong type, and because two functions that differ are pointers all the same.
//! Never: a list that can be left incomplete. A struct, field or constant that is missing below fails a test or the
//! compiler.

use std::{collections::BTreeSet, ffi::c_char, fmt::Write, mem::offset_of, path::PathBuf, process::Command};

use cohost_abi::{self as abi, HEADER_NAMES, Note};
use spelling::Spell;

#[path = "layout/spelling.rs"]
mod spelling;

const HEADER: &str = include_str!("../include/cohost.h");

const SOURCES: [&str; 8] = [
    include_str!("../src/lib.rs"),
    include_str!("../src/app.rs"),
    include_str!("../src/body.rs"),
    include_str!("../src/head.rs"),
    include_str!("../src/headers.rs"),
    include_str!("../src/host.rs"),
    include_str!("../src/response.rs"),
    include_str!("../src/values.rs"),
];

#[test]
fn c11_agrees_with_rust() {
    assert_same(&answers_of(&C11), &answers_of_rust());
}

#[test]
fn cpp17_agrees_with_rust() {
    assert_same(&answers_of(&CPP17), &answers_of_rust());
}

#[test]
fn every_struct_is_compared() {
    let compared: BTreeSet<_> = layouts().into_iter().map(|layout| layout.c).collect();
    let code = without_comments(HEADER);
    let in_header: BTreeSet<_> = code
        .split("struct ")
        .filter_map(|text| text.split_once(" {"))
        .map(|(name, _)| name)
        .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .collect();
    assert_eq!(in_header, compared);
    let in_rust = SOURCES.iter().flat_map(|text| text.lines()).filter(|line| line.starts_with("pub struct "));
    let handles = ["Token", "Body", "Sink", "Io"].len();
    let opaque = ["Req"].len();
    assert_eq!(in_rust.count() + handles - opaque, compared.len());
}

#[test]
fn every_constant_of_the_header_is_compared() {
    let code = without_comments(HEADER);
    let enumerators =
        code.split([',', '{', '}']).filter_map(|text| text.split_once(" = ")).map(|(name, _)| name);
    let macros =
        code.lines().filter_map(|line| line.strip_prefix("#define ")?.split_once(' ')).map(|(name, _)| name);
    let in_header: BTreeSet<_> = enumerators
        .chain(macros)
        .map(str::trim)
        .filter(|name| name.starts_with("COHOST_") && !name.contains('('))
        .filter(|name| *name != "COHOST_PUBLIC")
        .map(str::to_owned)
        .collect();
    let compared: BTreeSet<_> = constants()
        .into_iter()
        .map(|(name, _)| name)
        .chain(texts().into_iter().map(|(name, _)| name.to_owned()))
        .collect();
    assert_eq!(in_header, compared);
}

#[test]
fn every_constant_of_the_crate_is_compared() {
    let compared = constants().into_iter().map(|(name, _)| name);
    let mut compared: BTreeSet<_> = compared.chain(texts().map(|(name, _)| name.to_owned())).collect();
    compared.insert("COHOST_HEADER_NAMES".to_owned());
    let in_modules: BTreeSet<_> =
        listed_constants().into_iter().map(|(module, name, ..)| (module, name)).collect();
    let mut module = None;
    for line in SOURCES.iter().flat_map(|text| text.lines()) {
        if let Some(name) = line.strip_prefix("pub mod ") {
            module = Some(name.trim_end_matches(" {"));
        } else if line == "}" {
            module = None;
        } else if let Some(name) = name_of_constant(line.trim_start()) {
            match module {
                Some(module) => {
                    assert!(in_modules.contains(&(module, name)), "{module}::{name} is not compared");
                }
                // Constants of types are indented, and a convenience of Rust's.
                None if line.starts_with(' ') => {}
                None => assert!(compared.contains(&format!("COHOST_{name}")), "{name} is not compared"),
            }
        }
    }
}

fn name_of_constant(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix("pub const ")?.split_once(':')?;
    name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_').then_some(name)
}

#[test]
fn header_names_are_lower_case_and_distinct() {
    for name in HEADER_NAMES {
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{name}");
    }
    assert_eq!(HEADER_NAMES.iter().collect::<BTreeSet<_>>().len(), HEADER_NAMES.len());
}

/// Every difference at once, each with what both sides say.
fn assert_same(theirs: &[String], ours: &[String]) {
    let differences: Vec<_> = theirs
        .iter()
        .zip(ours)
        .filter(|(theirs, ours)| theirs != ours)
        .map(|(theirs, ours)| format!("header: {theirs}   crate: {ours}"))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert_eq!(theirs.len(), ours.len());
}

/// A struct as Rust sees it.
struct Layout {
    c: &'static str,
    size: usize,
    align: usize,
    fields: Vec<Field>,
}

struct Field {
    c: &'static str,
    offset: usize,
    size: usize,
    /// A declarator of a new type, equal to the field's.
    spelled: fn(&str) -> String,
}

fn field<S, F: Spell>(name: &'static str, offset: usize, _: fn(&S) -> &F) -> Field {
    // Handles are tuples in Rust.
    let c = if name == "0" { "value" } else { name };
    Field { c, offset, size: size_of::<F>(), spelled: F::spell }
}

macro_rules! layouts {
    ($($rust:ident $c:literal { $($field:tt)+ })+) => {
        fn layouts() -> Vec<Layout> {
            vec![$({
                // Does not compile when a field is missing from the list.
                let _complete = |it: &abi::$rust| { let abi::$rust { $($field: _),+ } = it; };
                Layout {
                    c: $c,
                    size: size_of::<abi::$rust>(),
                    align: align_of::<abi::$rust>(),
                    fields: vec![$(
                        field(stringify!($field), offset_of!(abi::$rust, $field), |it: &abi::$rust| &it.$field)
                    ),+],
                }
            }),+]
        }
        $(impl Spell for abi::$rust {
            fn spell(declarator: &str) -> String { format!("{} {declarator}", $c) }
        })+
    };
}

layouts! {
    Str "cohost_str" { ptr len }
    Header "cohost_header" { name value name_len value_len name_id flags reserved }
    Bytes "cohost_bytes" { ptr len owner release flags }
    Waker "cohost_waker" { data meta table }
    WakerTable "cohost_waker_table" { size clone wake wake_by_ref drop }
    Token "cohost_token" { 0 }
    Body "cohost_body" { 0 }
    Sink "cohost_sink" { 0 }
    Io "cohost_io" { 0 }
    Addr "cohost_addr" { family pad port scope_id ip }
    Tls "cohost_tls" { size version cipher flags sni alpn client_chain client_chain_len }
    Conn "cohost_conn" { size id peer local tls binding }
    Head "cohost_head" {
        size http_version method_id flags n_headers reserved method scheme authority target path_base path_query path
        path_decoded query protocol headers content_length deadline_ns request_id trace_id parent_span_id trace_flags
        pad conn body
    }
    Frame "cohost_frame" { size kind n_headers data headers }
    Stream "cohost_stream" { size state content_length poll_frame drop }
    File "cohost_file" { size fd flags offset length }
    Upgrade "cohost_upgrade" { size state on_io drop }
    Response "cohost_response" {
        size status flags n_headers headers body_kind reserved body stream sink file upgrade
    }
    Task "cohost_task" { state poll drop }
    Callsite "cohost_callsite" { size level line target file name fields n_fields }
    Value "cohost_value" { field kind u f s }
    Host "cohost_host" {
        size major minor threads features ctx respond take_body detach token_head token_take_body token_respond
        token_drop body_poll body_read body_read_blocking body_drop sink_write sink_on_writable sink_write_blocking
        sink_end sink_abort io_poll_read io_poll_write io_poll_flush io_poll_shutdown io_read_blocking
        io_write_blocking io_drop config_get log_register log_enabled log_event log_text set_ready query
    }
    Informational "cohost_informational" { size inform token_inform }
    Error "cohost_err" { buf cap len }
    Init "cohost_init" { size name content_root path_base generation threads runtime_threads reserved }
    App "cohost_app" {
        magic size major minor min_host_minor reserved max_concurrency flags requires_features name version sdk init
        handle drain shutdown event
    }
    Note "cohost_note" { namesz descsz kind name major minor min_host_minor pad flags requires_features }
}

macro_rules! listed {
    ($($module:ident $prefix:literal { $($name:ident)+ })+) => {
        /// Module, name, name in C, value.
        fn listed_constants() -> Vec<(&'static str, &'static str, &'static str, u64)> {
            vec![$($((
                stringify!($module),
                stringify!($name),
                concat!("COHOST_", $prefix, stringify!($name)),
                abi::$module::$name as u64,
            )),+),+]
        }
    };
}

listed! {
    code "" {
        DONE PENDING DETACHED EOF AGAIN E_INVALID E_PANIC E_GONE E_STATE E_UNSUPPORTED E_TOO_LARGE E_IO E_NOMEM E_BUSY
        E_TIMEOUT E_APP E_UNAVAILABLE E_ABI E_DRAINING
    }
    header_id "HDR_" { NONE }
    header_flags "HEADER_" { SENSITIVE }
    bytes_flags "BYTES_" { STATIC }
    family "FAMILY_" { NONE UNIX IPV4 IPV6 }
    head_flags "HEAD_" { HAS_BODY UPGRADE BODY_BUFFERED TRACE EXPECT_CONTINUE }
    method_id "METHOD_" { OTHER GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH }
    frame_kind "FRAME_" { DATA TRAILERS }
    file_flags "FILE_" { CLOSE }
    body_kind "BODY_" { EMPTY BYTES STREAM PUSH FILE }
    level "LEVEL_" { ERROR WARN INFO DEBUG TRACE }
    interest "INTEREST_" { NEVER SOMETIMES ALWAYS }
    value_kind "VALUE_" { STR U64 I64 BOOL F64 }
    features "FEATURE_" { UPGRADE TRAILERS AFFINE_THREADS FILES }
    app_flags "APP_" { BLOCKING BUFFER_BODY PANIC_ABORT RUNTIME }
    event "EVENT_" { LOG_FILTER CONFIG }
}

/// Every number, by its name in C.
fn constants() -> Vec<(String, u64)> {
    let single = [
        ("COHOST_ABI_MAJOR", u64::from(abi::ABI_MAJOR)),
        ("COHOST_ABI_MINOR", u64::from(abi::ABI_MINOR)),
        ("COHOST_MAGIC", abi::MAGIC),
        ("COHOST_NO_LENGTH", abi::NO_LENGTH),
        ("COHOST_NOTE_TYPE", u64::from(abi::NOTE_TYPE)),
    ];
    let listed = listed_constants().into_iter().map(|(_, _, c, value)| (c, value));
    let names = HEADER_NAMES.iter().zip(1..).map(|(name, id)| {
        let name = name.to_ascii_uppercase().replace('-', "_");
        (format!("COHOST_HDR_{name}"), id)
    });
    single.into_iter().chain(listed).map(|(name, value)| (name.to_owned(), value)).chain(names).collect()
}

fn texts() -> [(&'static str, &'static str); 3] {
    let owner = str::from_utf8(&abi::NOTE_OWNER).expect("ASCII");
    [
        ("COHOST_ENTRY_SYMBOL", abi::ENTRY_SYMBOL),
        ("COHOST_NOTE_SECTION", abi::NOTE_SECTION),
        ("COHOST_NOTE_OWNER", owner.trim_end_matches('\0')),
    ]
}

fn answers_of_rust() -> Vec<String> {
    let mut lines = Vec::new();
    for Layout { c, size, align, fields } in layouts() {
        lines.push(format!("{c} size {size} align {align}"));
        for field in fields {
            lines.push(format!("{c}.{} offset {} size {} same 1", field.c, field.offset, field.size));
        }
    }
    lines.extend(constants().into_iter().map(|(name, value)| format!("{name} {value}")));
    lines.extend(texts().map(|(name, text)| format!("{name} {text}")));
    let Note { namesz, descsz, kind, name, major, minor, min_host_minor, pad, flags, requires_features } =
        Note { min_host_minor: 2, ..Note::new(3, 5) };
    let end = name.iter().position(|b| *b == 0).expect("NUL-terminated");
    lines.push(format!("note {namesz} {descsz} {kind} {end} {major} {minor} {min_host_minor} {pad} {flags} {requires_features}"));
    lines
}

/// A language, and how it says what the program asks.
struct Language {
    variable: &'static str,
    compiler: &'static str,
    standard: &'static str,
    suffix: &'static str,
    prelude: &'static str,
}

const C11: Language = Language {
    variable: "CC",
    compiler: "cc",
    standard: "-std=c11",
    suffix: "c",
    prelude: "#define ALIGN(T) _Alignof(T)\n\
              #define SAME(S, f, T) _Generic(&((S *)0)->f, T *: 1, default: 0)\n",
};

const CPP17: Language = Language {
    variable: "CXX",
    compiler: "c++",
    standard: "-std=c++17",
    suffix: "cpp",
    prelude: "#include <type_traits>\n\
              #define ALIGN(T) alignof(T)\n\
              #define SAME(S, f, T) int(std::is_same<decltype(S::f), T>::value)\n",
};

fn answers_of(language: &Language) -> Vec<String> {
    let name = format!("layout-{}-{}", language.suffix, std::process::id());
    let binary = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let source = binary.with_extension(language.suffix);
    std::fs::write(&source, program(language)).expect("the target directory is writable");
    let compiler = std::env::var(language.variable).unwrap_or_else(|_| language.compiler.to_owned());
    let mut words = compiler.split_whitespace();
    let output = Command::new(words.next().expect("CC and CXX are not empty"))
        .args(words)
        .args([language.standard, "-Wall", "-Wextra", "-pedantic", "-Werror", "-I"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/include"))
        .arg(&source)
        .arg("-o")
        .arg(&binary)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {compiler} (set {}): {error}", language.variable));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = Command::new(&binary).output().expect("it was just made");
    assert!(output.status.success());
    for file in [source, binary] {
        std::fs::remove_file(file).expect("it was just made");
    }
    String::from_utf8(output.stdout).expect("ASCII").lines().map(str::to_owned).collect()
}

fn program(language: &Language) -> String {
    let (mut types, mut body) = (String::new(), String::new());
    for Layout { c, fields, .. } in layouts() {
        write_line(
            &mut body,
            format_args!(r#"P("{c} size %zu align %zu\n", sizeof({c}), (size_t)ALIGN({c}));"#),
        );
        for Field { c: field, spelled, .. } in fields {
            let alias = format!("type_of_{c}_{field}");
            write_line(&mut types, format_args!("typedef {};", spelled(&alias)));
            // Where char is unsigned, Rust's c_char is u8, and nothing can be said of the difference.
            let same = if c_char::MIN == 0 { "1".to_owned() } else { format!("SAME({c}, {field}, {alias})") };
            write_line(
                &mut body,
                format_args!(
                    r#"P("{c}.{field} offset %zu size %zu same %d\n", offsetof({c}, {field}), sizeof((({c} *)0)->{field}), {same});"#
                ),
            );
        }
    }
    for (name, _) in constants() {
        write_line(&mut body, format_args!(r#"P("{name} %llu\n", (unsigned long long)({name}));"#));
    }
    for (name, _) in texts() {
        write_line(&mut body, format_args!(r#"P("{name} %s\n", {name});"#));
    }
    let note = r#"const cohost_note *n = &cohost_note_;
P("note %u %u %u %zu %u %u %u %u %u %u\n", n->namesz, n->descsz, n->kind, strlen((const char *)n->name), n->major,
  n->minor, n->min_host_minor, n->pad, n->flags, n->requires_features);"#;
    let Language { prelude, .. } = language;
    format!(
        "#include \"cohost.h\"\n#include <stdio.h>\n#include <string.h>\n{prelude}#define P printf\n\
         COHOST_NOTE_FOR(2, 3, 5);\n{types}int main(void) {{\n{body}{note}\nreturn 0;\n}}\n"
    )
}

fn write_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes everything");
}

fn without_comments(text: &str) -> String {
    let mut parts = text.split("/*");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.filter_map(|part| part.split_once("*/")).fold(first, |code, (_, rest)| code + rest)
}
