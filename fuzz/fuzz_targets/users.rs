//! Hashes of passwords. In: any text. Never: a panic, a weak one that is let pass, or one that costs more than it may.
#![no_main]

use cohost::front::Hashed;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for text in [text.to_owned(), format!("$2y$05${text}"), format!("$argon2id$v=19$m=64,t=1,p=1${text}")] {
        if let Ok(hashed) = text.parse::<Hashed>() {
            assert!(
                text.starts_with("$2")
                    || text.starts_with("$argon2")
                    || text.starts_with("$5$")
                    || text.starts_with("$6$")
            );
            assert!(!format!("{hashed:?}").contains(&text));
        }
    }
});
