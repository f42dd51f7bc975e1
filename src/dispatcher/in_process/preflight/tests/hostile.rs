//! Bytes that mean harm: any answer will do, as long as there is one.

use std::{path::Path, sync::LazyLock};

use proptest::prelude::*;

use super::{super::examine_bytes, LoadError, Workshop, sound};

static WHOLE: LazyLock<Vec<u8>> =
    LazyLock::new(|| std::fs::read(Workshop::new().library(&sound(), &["-Wl,--hash-style=both"])).unwrap());

const PATH: &str = "/srv/app.so";

/// Asks everything that can be asked.
fn exhaust(bytes: &[u8]) {
    match examine_bytes(Path::new(PATH), bytes) {
        Ok(library) => {
            let _ = (library.warnings(), library.missing_dependencies(&[]), library.flags());
        }
        Err(error) => assert!(error.to_string().contains(PATH)),
    }
}

#[test]
fn no_beginning_of_a_library_passes_for_the_whole() {
    for length in 0..WHOLE.len() {
        let error = examine_bytes(Path::new(PATH), &WHOLE[..length]).unwrap_err();
        match error {
            LoadError::NotElf { .. } if length < 4 => {}
            LoadError::Truncated { needs, has, .. } if length >= 4 => {
                assert_eq!(has, length as u64);
                assert!(needs > has && needs <= WHOLE.len() as u64);
            }
            other => panic!("cut to {length} bytes: {other}"),
        }
    }
}

#[test]
fn every_byte_of_the_headers_may_be_anything() {
    for offset in 0..HEADERS {
        for byte in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = WHOLE.clone();
            bytes[offset] = byte;
            exhaust(&bytes);
        }
    }
}

proptest! {
    #[test]
    fn scattered_damage_is_survived(damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..64)) {
        let mut bytes = WHOLE.clone();
        for (index, byte) in damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        exhaust(&bytes);
    }

    #[test]
    fn whole_words_of_damage_are_survived(
        damage in prop::collection::vec((any::<prop::sample::Index>(), word()), 1..8),
        length in any::<prop::sample::Index>(),
    ) {
        let mut bytes = WHOLE.clone();
        for (index, word) in damage {
            let start = 16 + index.index((bytes.len() - 16) / 8 - 1) * 8;
            bytes[start..start + 8].copy_from_slice(&word.to_le_bytes());
        }
        exhaust(&bytes);
        exhaust(&bytes[..length.index(bytes.len())]);
    }

    #[test]
    fn noise_behind_a_good_header_is_survived(noise in prop::collection::vec(any::<u8>(), 0..2048)) {
        let mut bytes = WHOLE[..64].to_vec();
        bytes.extend(noise);
        // No section headers, a few segments: far enough in for the noise to matter.
        bytes[0x28..0x30].fill(0);
        bytes[0x38] = 4;
        exhaust(&bytes);
    }
}

/// Numbers at which offsets and lengths go wrong, and others.
fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0..0x1_0000u64,
        Just(u64::MAX),
        Just(u64::MAX - 7),
        Just(1 << 63),
        Just(u64::from(u32::MAX)),
    ]
}

/// The file's header and the segments' headers, roughly.
const HEADERS: usize = 64 + 8 * 56;
