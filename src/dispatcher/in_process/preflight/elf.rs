//! From bytes to the facts of a [`Library`]: the file's header, its segments, its notes and its descriptor.
//!
//! Everything is found the way the loader finds it, over segments and the dynamic table: section headers may be
//! stripped or lie. Every offset is looked up, never computed with, and every list has a bound, so that a file of
//! nonsense costs what a library of its size costs.

use std::{mem::offset_of, path::Path};

use cohost_abi::{App, MAGIC, NOTE_TYPE};
use object::{
    Endianness, elf, pod,
    read::elf::{FileHeader, NoteIterator, ProgramHeader, Sym},
};

use super::{
    Library, LoadError, Note,
    dynamic::{Dynamic, Symbol},
    machine::Target,
};

pub(super) type Header = elf::FileHeader64<Endianness>;
type Segment = elf::ProgramHeader64<Endianness>;

/// Whether this is an ELF file at all.
pub(super) fn has_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(&elf::ELFMAG)
}

/// A file that is a shared library for this machine, and whole.
pub(super) struct Image<'data> {
    bytes: &'data [u8],
    pub(super) endian: Endianness,
    segments: &'data [Segment],
}

impl<'data> Image<'data> {
    pub(super) fn parse(path: &Path, bytes: &'data [u8]) -> Result<Self, LoadError> {
        let file = File { path, bytes };
        if !has_magic(bytes) {
            return Err(LoadError::NotElf { path: path.to_owned(), looks_like: looks_like(bytes) });
        }
        let target = Target::of(bytes).ok_or_else(|| file.truncated(size_of::<Header>() as u64))?;
        if target != Target::HOST {
            let (built_for, host) = (target.to_string(), Target::HOST.to_string());
            return Err(LoadError::WrongArchitecture { path: path.to_owned(), built_for, host });
        }
        file.check_length(size_of::<Header>() as u64)?;
        let header = Header::parse(bytes).map_err(|_| file.damaged("its header is of no known version"))?;
        let endian = header.endian().map_err(|_| file.damaged("its byte order is unknown"))?;
        file.check_type(header.e_type(endian))?;
        let segments = file.segments(header, endian)?;
        Ok(Self { bytes, endian, segments })
    }

    /// What the library says of itself.
    pub(super) fn library(&self, path: &Path) -> Result<Library, LoadError> {
        let file = File { path, bytes: self.bytes };
        let dynamic = Dynamic::of(self).ok_or_else(|| file.damaged("it has no dynamic table"))?;
        if dynamic.flags_1.contains(elf::DF_1_PIE) {
            return Err(LoadError::Program { path: path.to_owned() });
        }
        let symbols = dynamic.exported(self);
        let (note, build_id) = self.notes();
        Ok(Library {
            path: path.to_owned(),
            note,
            descriptor: symbols.entry.map_or(Ok(None), |entry| self.descriptor(file, entry))?,
            entry: symbols.entry.is_some(),
            other_entry: symbols.other_entry,
            needed: dynamic.needed(),
            runpath: dynamic.search_path(),
            static_tls: dynamic.flags.contains(elf::DF_STATIC_TLS),
            tls_size: self.segment(elf::PT_TLS).map_or(0, |tls| tls.p_memsz(self.endian)),
            nodelete: dynamic.flags_1.contains(elf::DF_1_NODELETE),
            executable_stack: self
                .segment(elf::PT_GNU_STACK)
                .is_some_and(|stack| stack.p_flags(self.endian).contains(elf::PF_X)),
            unique_symbols: symbols.unique,
            exported: symbols.exported,
            build_id,
            soname: dynamic.soname(),
            machine: Target::HOST.name(),
        })
    }

    fn segment(&self, kind: elf::ProgramType) -> Option<&'data Segment> {
        self.segments.iter().find(|segment| segment.p_type(self.endian) == kind)
    }

    /// What will lie in memory from `address` to the end of its segment, as far as it comes from the file.
    pub(super) fn at(&self, address: u64) -> Option<&'data [u8]> {
        self.segments.iter().filter(|segment| segment.p_type(self.endian) == elf::PT_LOAD).find_map(
            |segment| {
                let offset = usize::try_from(address.checked_sub(segment.p_vaddr(self.endian))?).ok()?;
                segment.data(self.endian, self.bytes).ok()?.get(offset..).filter(|rest| !rest.is_empty())
            },
        )
    }

    /// The bytes of the dynamic table.
    pub(super) fn dynamic(&self) -> Option<&'data [u8]> {
        let segment = self.segment(elf::PT_DYNAMIC)?;
        let bytes = self.at(segment.p_vaddr(self.endian))?;
        let size = usize::try_from(segment.p_memsz(self.endian)).ok()?;
        Some(bytes.get(..size).unwrap_or(bytes))
    }

    /// The note and the build id, wherever they are among the notes.
    fn notes(&self) -> (Option<Note>, Option<String>) {
        let (mut ours, mut build_id) = (None, None);
        for segment in self.segments {
            let Ok(Some(notes)) = segment.notes(self.endian, self.bytes) else { continue };
            for note in notes_of(notes) {
                match (note.name(), note.n_type(self.endian)) {
                    (b"Cohost", elf::NoteType(NOTE_TYPE)) => ours = ours.or(self.note(note.desc())),
                    (elf::ELF_NOTE_GNU, elf::NT_GNU_BUILD_ID) => build_id = Some(hexadecimal(note.desc())),
                    _ => {}
                }
            }
        }
        (ours, build_id)
    }

    fn note(&self, bytes: &[u8]) -> Option<Note> {
        let base = offset_of!(cohost_abi::Note, major);
        let words = Words { bytes, endian: self.endian };
        Some(Note {
            major: words.u16(offset_of!(cohost_abi::Note, major) - base)?,
            minor: words.u16(offset_of!(cohost_abi::Note, minor) - base)?,
            min_host_minor: words.u16(offset_of!(cohost_abi::Note, min_host_minor) - base)?,
            flags: words.u32(offset_of!(cohost_abi::Note, flags) - base)?,
            requires_features: words.u32(offset_of!(cohost_abi::Note, requires_features) - base)?.into(),
        })
    }

    /// The descriptor's numbers; the loader changes only the pointers behind them.
    ///
    /// None when they are not in the file: a constructor may fill them in, and the loader reads them after that.
    fn descriptor(&self, file: File<'_, '_>, entry: &Symbol) -> Result<Option<Note>, LoadError> {
        let invalid = |what| LoadError::EntryInvalid { path: file.path.to_owned(), what };
        if !matches!(entry.st_type(), elf::STT_OBJECT | elf::STT_NOTYPE) {
            return Err(invalid("is not data"));
        }
        // Assembly may leave the size out.
        if (1..offset_of!(App, init) as u64).contains(&entry.st_size(self.endian)) {
            return Err(invalid("is smaller than any descriptor"));
        }
        let Some(bytes) = self.at(entry.st_value(self.endian)) else { return Ok(None) };
        let words = Words { bytes, endian: self.endian };
        match words.u64(offset_of!(App, magic)) {
            Some(MAGIC) => Ok(words.descriptor()),
            Some(0) | None => Ok(None),
            Some(_) => Err(invalid("does not begin with the magic number of a descriptor")),
        }
    }
}

/// The file as a whole, for what has to be checked before its parts can be read.
#[derive(Clone, Copy)]
struct File<'path, 'data> {
    path: &'path Path,
    bytes: &'data [u8],
}

impl<'data> File<'_, 'data> {
    fn check_type(self, kind: elf::FileType) -> Result<(), LoadError> {
        let path = self.path.to_owned();
        match kind {
            elf::ET_DYN => Ok(()),
            elf::ET_EXEC => Err(LoadError::Program { path }),
            elf::ET_REL => Err(LoadError::ObjectFile { path }),
            _ => Err(self.damaged("it is neither a library nor a program")),
        }
    }

    /// The segments, once all that the header and they name is known to be there.
    fn segments(self, header: &Header, endian: Endianness) -> Result<&'data [Segment], LoadError> {
        self.check_table(header.e_phoff(endian), header.e_phentsize(endian), header.e_phnum(endian))?;
        let segments = header
            .program_headers(endian, self.bytes)
            .map_err(|_| self.damaged("its program headers make no sense"))?;
        if segments.len() > MOST_SEGMENTS {
            return Err(self.damaged("it has too many segments"));
        }
        for segment in segments.iter().filter(|segment| segment.p_type(endian) == elf::PT_LOAD) {
            self.check_range(segment.p_offset(endian), segment.p_filesz(endian))?;
        }
        // Nothing that runs needs them, but they are last in most files: an upload under way ends before them.
        self.check_table(header.e_shoff(endian), header.e_shentsize(endian), header.e_shnum(endian))?;
        Ok(segments)
    }

    fn check_table(self, offset: u64, size: u16, count: u16) -> Result<(), LoadError> {
        if offset == 0 { Ok(()) } else { self.check_range(offset, u64::from(size) * u64::from(count)) }
    }

    fn check_range(self, offset: u64, length: u64) -> Result<(), LoadError> {
        let end =
            offset.checked_add(length).ok_or_else(|| self.damaged("a segment ends before it begins"))?;
        self.check_length(end)
    }

    fn check_length(self, needs: u64) -> Result<(), LoadError> {
        if needs > self.bytes.len() as u64 { Err(self.truncated(needs)) } else { Ok(()) }
    }

    fn truncated(self, needs: u64) -> LoadError {
        LoadError::Truncated { path: self.path.to_owned(), needs, has: self.bytes.len() as u64 }
    }

    fn damaged(self, what: &'static str) -> LoadError {
        LoadError::Damaged { path: self.path.to_owned(), what }
    }
}

fn notes_of<'data>(
    mut notes: NoteIterator<'data, Header>,
) -> impl Iterator<Item = object::read::elf::Note<'data, Header>> {
    std::iter::from_fn(move || notes.next().ok().flatten()).take(MOST_NOTES)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().take(LONGEST_BUILD_ID).map(|byte| format!("{byte:02x}")).collect()
}

/// Numbers out of bytes, in the file's byte order.
#[derive(Clone, Copy)]
struct Words<'data> {
    bytes: &'data [u8],
    endian: Endianness,
}

impl Words<'_> {
    fn descriptor(self) -> Option<Note> {
        Some(Note {
            major: self.u16(offset_of!(App, major))?,
            minor: self.u16(offset_of!(App, minor))?,
            min_host_minor: self.u16(offset_of!(App, min_host_minor))?,
            flags: self.u32(offset_of!(App, flags))?,
            requires_features: self.u64(offset_of!(App, requires_features))?,
        })
    }

    fn u16(self, offset: usize) -> Option<u16> {
        self.read::<object::U16<Endianness>>(offset).map(|word| word.get(self.endian))
    }

    fn u32(self, offset: usize) -> Option<u32> {
        self.read::<object::U32<Endianness>>(offset).map(|word| word.get(self.endian))
    }

    fn u64(self, offset: usize) -> Option<u64> {
        self.read::<object::U64<Endianness>>(offset).map(|word| word.get(self.endian))
    }

    fn read<T: object::Pod>(&self, offset: usize) -> Option<&T> {
        pod::from_bytes(self.bytes.get(offset..)?).ok().map(|(word, _)| word)
    }
}

/// What a file that is no ELF file seems to be.
fn looks_like(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => "an empty file",
        [b'#', b'!', ..] => "a script",
        [b'!', b'<', b'a', b'r', b'c', b'h', b'>', ..] => "a static archive",
        [b'M', b'Z', ..] => "a Windows library or program",
        [0xcf, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, ..] => "a macOS library or program",
        [0, b'a', b's', b'm', ..] => "WebAssembly",
        _ if bytes
            .iter()
            .take(TEXT_SAMPLE)
            .all(|byte| matches!(byte, b'\t'..=b'\r' | b' '..=b'~' | 0x80..)) =>
        {
            "a text"
        }
        _ => "something else",
    }
}

const MOST_SEGMENTS: usize = 128;
const MOST_NOTES: usize = 64;
const LONGEST_BUILD_ID: usize = 64;
const TEXT_SAMPLE: usize = 256;
