//! How C spells a type of Rust's, so that a C compiler can tell whether the header's is the same.
//!
//! In: a type and a declarator. Out: a declaration, as in `typedef`. Structs are spelled beside the list of them.

use std::ffi::c_void;

use cohost_abi as abi;

/// How C declares a name to be of this type.
pub(super) trait Spell {
    fn spell(declarator: &str) -> String;
}

macro_rules! named {
    ($($rust:ty = $c:literal)+) => {$(
        impl Spell for $rust {
            fn spell(declarator: &str) -> String { format!("{} {declarator}", $c) }
        }
    )+};
}

named! {
    () = "void"
    c_void = "void"
    i8 = "char"
    u8 = "uint8_t"
    u16 = "uint16_t"
    u32 = "uint32_t"
    u64 = "uint64_t"
    usize = "size_t"
    i32 = "int32_t"
    f64 = "double"
    abi::Req = "cohost_req"
}

impl<T: Spell> Spell for *mut T {
    fn spell(declarator: &str) -> String {
        T::spell(&format!("*{declarator}"))
    }
}

impl<T: Spell> Spell for *const T {
    fn spell(declarator: &str) -> String {
        format!("const {}", T::spell(&format!("*{declarator}")))
    }
}

impl<T: Spell, const N: usize> Spell for [T; N] {
    fn spell(declarator: &str) -> String {
        T::spell(&format!("{declarator}[{N}]"))
    }
}

macro_rules! functions {
    ($(($($argument:ident)+))+) => {$(
        impl<$($argument: Spell,)+ R: Spell> Spell for unsafe extern "C" fn($($argument),+) -> R {
            fn spell(declarator: &str) -> String {
                R::spell(&format!("(*{declarator})({})", [$(parameter::<$argument>()),+].join(", ")))
            }
        }
        impl<$($argument: Spell,)+ R: Spell> Spell for Option<unsafe extern "C" fn($($argument),+) -> R> {
            fn spell(declarator: &str) -> String {
                <unsafe extern "C" fn($($argument),+) -> R>::spell(declarator)
            }
        }
    )+};
}

functions! { (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) }

/// A buffer of bytes is `void *` to a function, so that callers in C need no casts.
fn parameter<T: Spell>() -> String {
    match T::spell("").as_str() {
        "uint8_t *" => "void *".to_owned(),
        "const uint8_t *" => "const void *".to_owned(),
        other => other.to_owned(),
    }
}
