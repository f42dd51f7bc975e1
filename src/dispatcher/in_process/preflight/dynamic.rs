//! The dynamic table and the symbols of a library, as far as anybody asks.
//!
//! In: an [`Image`]. Never: reads a string to its end without a bound, since millions of symbols may share a long one.

use cohost_abi::{ABI_MAJOR, ENTRY_SYMBOL};
use object::{
    Endianness, elf, pod,
    read::elf::{GnuHashTable, HashTable, Sym},
};

use super::{
    NAMES_KEPT,
    elf::{Header, Image},
};

type Entry = elf::Dyn64<Endianness>;
pub(super) type Symbol = elf::Sym64<Endianness>;

/// What the dynamic table says. Strings are offsets until somebody wants them.
pub(super) struct Dynamic<'data> {
    strings: &'data [u8],
    symbols: Option<u64>,
    hash: Option<u64>,
    gnu_hash: Option<u64>,
    needed: Vec<u64>,
    runpath: Option<u64>,
    soname: Option<u64>,
    pub(super) flags: elf::DynamicFlags,
    pub(super) flags_1: elf::DynamicFlags1,
}

impl<'data> Dynamic<'data> {
    /// None if there is none, without which nothing can be loaded.
    pub(super) fn of(image: &Image<'data>) -> Option<Self> {
        let bytes = image.dynamic()?;
        let (entries, _) = pod::slice_from_bytes(bytes, bytes.len() / size_of::<Entry>()).ok()?;
        Some(Self::read(entries, image))
    }

    fn read(entries: &[Entry], image: &Image<'data>) -> Self {
        let pairs = || {
            let all =
                entries.iter().map(|entry| (entry.d_tag.get(image.endian), entry.d_val.get(image.endian)));
            all.take_while(|(tag, _)| *tag != elf::DT_NULL)
        };
        // Of several entries with one tag, the loader takes the last.
        let value = |wanted| pairs().filter(|(tag, _)| *tag == wanted).last().map(|(_, value)| value);
        let strings = value(elf::DT_STRTAB).and_then(|address| image.at(address)).unwrap_or_default();
        let size = value(elf::DT_STRSZ).and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        let needed = pairs().filter(|(tag, _)| *tag == elf::DT_NEEDED).map(|(_, value)| value);
        Self {
            strings: strings.get(..size).unwrap_or(strings),
            symbols: value(elf::DT_SYMTAB),
            hash: value(elf::DT_HASH),
            gnu_hash: value(elf::DT_GNU_HASH),
            needed: needed.take(NAMES_KEPT).collect(),
            // The older kind counts only where there is no newer one.
            runpath: value(elf::DT_RUNPATH).or_else(|| value(elf::DT_RPATH)),
            soname: value(elf::DT_SONAME),
            flags: elf::DynamicFlags(value(elf::DT_FLAGS).unwrap_or(0)),
            flags_1: elf::DynamicFlags1(value(elf::DT_FLAGS_1).unwrap_or(0)),
        }
    }

    pub(super) fn needed(&self) -> Vec<String> {
        self.needed.iter().filter_map(|name| self.text(*name)).collect()
    }

    pub(super) fn soname(&self) -> Option<String> {
        self.text(self.soname?)
    }

    pub(super) fn search_path(&self) -> Vec<String> {
        let paths = self.runpath.and_then(|paths| self.text(paths)).unwrap_or_default();
        paths.split(':').filter(|path| !path.is_empty()).take(NAMES_KEPT).map(str::to_owned).collect()
    }

    /// The symbols that the loader would find.
    pub(super) fn exported(&self, image: &Image<'data>) -> Symbols<'data> {
        let mut found = Symbols::default();
        for symbol in self.symbol_table(image).unwrap_or_default() {
            if is_exported(symbol, image.endian) {
                found.add(symbol, self.name(symbol.st_name(image.endian)));
            }
        }
        found
    }

    /// The dynamic symbols. Their number stands only in the hash tables, without which no symbol can be found.
    fn symbol_table(&self, image: &Image<'data>) -> Option<&'data [Symbol]> {
        let bytes = image.at(self.symbols?)?;
        let gnu = || GnuHashTable::<Header>::parse(image.endian, image.at(self.gnu_hash?)?).ok();
        let sysv = || HashTable::<Header>::parse(image.endian, image.at(self.hash?)?).ok();
        let count = gnu()
            .and_then(|table| table.symbol_table_length(image.endian))
            .or_else(|| sysv().map(|table| table.symbol_table_length()))?;
        let count = usize::try_from(count).ok()?.min(bytes.len() / size_of::<Symbol>());
        pod::slice_from_bytes(bytes, count).ok().map(|(symbols, _)| symbols)
    }

    fn text(&self, offset: u64) -> Option<String> {
        let bytes = self.string(usize::try_from(offset).ok()?, LONGEST_TEXT)?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    fn name(&self, offset: u32) -> &'data [u8] {
        usize::try_from(offset).ok().and_then(|offset| self.string(offset, LONGEST_NAME)).unwrap_or_default()
    }

    /// A string, or its beginning: millions of symbols may share one long string.
    fn string(&self, offset: usize, longest: usize) -> Option<&'data [u8]> {
        let rest = self.strings.get(offset..)?;
        let rest = rest.get(..longest).unwrap_or(rest);
        rest.split(|byte| *byte == 0).next()
    }
}

#[derive(Default)]
pub(super) struct Symbols<'data> {
    pub(super) entry: Option<&'data Symbol>,
    pub(super) other_entry: Option<u16>,
    pub(super) unique: Vec<String>,
    pub(super) exported: Vec<String>,
}

impl<'data> Symbols<'data> {
    fn add(&mut self, symbol: &'data Symbol, name: &[u8]) {
        if name == ENTRY_SYMBOL.as_bytes() {
            self.entry = Some(symbol);
        } else if let Some(major) = major_of(name) {
            self.other_entry = Some(major);
        } else if !LINKERS_OWN.contains(&name) {
            let kept =
                if symbol.st_bind() == elf::STB_GNU_UNIQUE { &mut self.unique } else { &mut self.exported };
            if kept.len() < NAMES_KEPT {
                kept.push(String::from_utf8_lossy(name).into_owned());
            }
        }
    }
}

/// Whether the loader would find it.
fn is_exported(symbol: &Symbol, endian: Endianness) -> bool {
    let defined = !symbol.is_undefined(endian) && !symbol.is_absolute(endian);
    let global = matches!(symbol.st_bind(), elf::STB_GLOBAL | elf::STB_WEAK | elf::STB_GNU_UNIQUE);
    let visible = matches!(symbol.st_visibility(), elf::STV_DEFAULT | elf::STV_PROTECTED);
    let named = !matches!(symbol.st_type(), elf::STT_SECTION | elf::STT_FILE);
    defined && global && visible && named
}

/// The other major version of which `name` is the entry.
fn major_of(name: &[u8]) -> Option<u16> {
    let major = std::str::from_utf8(name).ok()?.strip_prefix(ENTRY_PREFIX)?.parse().ok()?;
    Some(major).filter(|major| *major != ABI_MAJOR)
}

/// What the name of every entry begins with; the major version follows.
const ENTRY_PREFIX: &str = "cohost_app_v";

/// Symbols that linkers export of their own accord.
const LINKERS_OWN: &[&[u8]] = &[b"", b"_init", b"_fini", b"_edata", b"_end", b"__bss_start"];

const LONGEST_TEXT: usize = 16 * 1024;
const LONGEST_NAME: usize = 1024;
