//! Field names by number: from `http`'s names to the contract's, and back.

use std::sync::LazyLock;

use cohost_abi::HEADER_NAMES;
use http::HeaderName;

const COUNT: usize = HEADER_NAMES.len();
const SLOTS: usize = 1024;

/// Numbers by hash, open addressing; 0 is a free slot.
static TABLE: [u16; SLOTS] = table();

static NAMES: LazyLock<[HeaderName; COUNT]> =
    LazyLock::new(|| std::array::from_fn(|i| HeaderName::from_static(HEADER_NAMES[i])));

/// Numbers by where a name lies. `http` keeps the names that it knows once, so that most are told by their address;
/// where that tells nothing, their letters do.
static BY_ADDRESS: LazyLock<[(usize, u16); SLOTS]> = LazyLock::new(|| {
    let mut table = [(0, 0); SLOTS];
    for (name, id) in NAMES.iter().zip(1..) {
        let address = name.as_str().as_ptr() as usize;
        // Two in one place: the later one stays, the other is told by its letters.
        table[place(address)] = (address, id);
    }
    table
});

/// The contract's number of `name`, which is in lower case; 0 if it has none.
pub(super) fn id(name: &str) -> u16 {
    let address = name.as_ptr() as usize;
    match BY_ADDRESS[place(address)] {
        // An address alone is not a name: another may begin there.
        (known, id) if known == address && HEADER_NAMES[usize::from(id) - 1].len() == name.len() => id,
        _ => by_letters(name),
    }
}

const fn place(address: usize) -> usize {
    // Fibonacci hashing: the upper bits of the product are as good as random.
    (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize >> (usize::BITS - SLOTS.trailing_zeros())
}

fn by_letters(name: &str) -> u16 {
    let name = name.as_bytes();
    let mut slot = hash(name);
    loop {
        match TABLE[slot] {
            0 => return 0,
            id if HEADER_NAMES[id as usize - 1].as_bytes() == name => return id,
            _ => slot = (slot + 1) % SLOTS,
        }
    }
}

/// The name of a number; `None` for 0 and for numbers that only a newer contract knows.
pub(super) fn name(id: u16) -> Option<&'static HeaderName> {
    NAMES.get(usize::from(id).wrapping_sub(1))
}

const fn hash(name: &[u8]) -> usize {
    let len = name.len();
    if len == 0 {
        return 0;
    }
    let (first, middle, last) = (name[0] as usize, name[len / 2] as usize, name[len - 1] as usize);
    (len.wrapping_mul(57) ^ first.wrapping_mul(131) ^ middle.wrapping_mul(29) ^ last.wrapping_mul(311))
        % SLOTS
}

const fn table() -> [u16; SLOTS] {
    let mut table = [0; SLOTS];
    let mut i = 0;
    while i < COUNT {
        let mut slot = hash(HEADER_NAMES[i].as_bytes());
        while table[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        table[slot] = i as u16 + 1;
        i += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_by_its_number_and_back() {
        for (i, text) in HEADER_NAMES.iter().enumerate() {
            let id = id(text);
            assert_eq!(usize::from(id), i + 1);
            assert_eq!(super::id(&String::from(*text)), id, "a name of the same letters elsewhere");
            assert_eq!(super::id(HeaderName::from_static(text).as_str()), id);
            assert_eq!(name(i as u16 + 1).expect("known").as_str(), *text);
        }
    }

    #[test]
    fn other_names_have_no_number() {
        for text in ["", "x", "hos", "hostt", "x-unknown"] {
            assert_eq!(id(text), 0);
        }
        assert!(name(0).is_none());
        assert!(name(u16::MAX).is_none());
    }
}
