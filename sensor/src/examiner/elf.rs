//! What kind of program an ELF file is, by the marks that its compiler left. Pure, but for reads at an offset.
//!
//! Sources: `elf(5)`; Go's `debug/buildinfo` for the section `.go.buildinfo`; rustc writes its version to `.comment`, as every
//! compiler does; the run path of a .NET host that brings its runtime along is `$ORIGIN/netcoredeps`.
//!
//! A file has a table of sections, which strip leaves as it is; without one there are no marks.

use nodescope_schema::Language;

/// Sections looked at.
const MAX_SECTIONS: u64 = 512;
/// Bytes of `.comment` looked at.
const MAX_COMMENT_BYTES: usize = 4096;
/// Entries of `.dynamic` looked at.
const MAX_DYNAMIC: u64 = 512;
const NAME_BYTES: usize = 16;

const GO_BUILD_INFO: &[u8] = b".go.buildinfo\0";
const COMMENT: &[u8] = b".comment\0";
const DYNAMIC: &[u8] = b".dynamic\0";
const RUSTC: &[u8] = b"rustc version ";
const NETCORE_RUN_PATH: &[u8] = b"$ORIGIN/netcoredeps\0";
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

/// Something that can be read anywhere.
pub trait ReadAt {
    /// Fills as much of `bytes` as there is at `offset`, and says how much that was.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> usize;
}

/// The language of a program.
pub fn language(file: &impl ReadAt) -> Language {
    Elf::open(file).map_or(Language::Unknown, |elf| elf.language())
}

/// Where the fields of 32-bit and of 64-bit files are.
struct Layout {
    /// Bytes of an address.
    word: usize,
    section_table: usize,
    section_bytes: usize,
    section_count: usize,
    section_offset: usize,
    section_size: usize,
    section_link: usize,
}

const ELF32: Layout = Layout {
    word: 4,
    section_table: 0x20,
    section_bytes: 40,
    section_count: 0x30,
    section_offset: 16,
    section_size: 20,
    section_link: 24,
};
const ELF64: Layout = Layout {
    word: 8,
    section_table: 0x28,
    section_bytes: 64,
    section_count: 0x3c,
    section_offset: 24,
    section_size: 32,
    section_link: 40,
};

struct Elf<'a, F> {
    file: &'a F,
    layout: &'static Layout,
    sections: u64,
    section_table: u64,
    /// Where the names of sections are.
    names: u64,
}

#[derive(Clone, Copy)]
struct Section {
    offset: u64,
    size: u64,
    /// The section that belongs to it.
    link: u64,
}

impl<'a, F: ReadAt> Elf<'a, F> {
    fn open(file: &'a F) -> Option<Self> {
        let header: [u8; 64] = exactly(file, 0)?;
        let little_endian = header[5] == 1;
        let layout = match header[4] {
            1 => &ELF32,
            2 => &ELF64,
            _ => return None,
        };
        if !header.starts_with(b"\x7fELF") || !little_endian {
            return None;
        }
        let mut elf = Self {
            file,
            layout,
            sections: number(&header[layout.section_count..][..2]).min(MAX_SECTIONS),
            section_table: number(&header[layout.section_table..][..layout.word]),
            names: 0,
        };
        let names = number(&header[layout.section_count + 2..][..2]);
        elf.names = elf.section(names)?.0.offset;
        Some(elf)
    }

    /// A section and where its name begins among the names.
    fn section(&self, index: u64) -> Option<(Section, u64)> {
        let layout = self.layout;
        let place = index.checked_mul(layout.section_bytes as u64)?;
        let header: [u8; 64] = at_most(self.file, self.section_table.checked_add(place)?)?;
        let field = |at: usize, bytes| number(&header[at..][..bytes]);
        let section = Section {
            offset: field(layout.section_offset, layout.word),
            size: field(layout.section_size, layout.word),
            link: field(layout.section_link, 4),
        };
        Some((section, field(0, 4)))
    }

    fn language(&self) -> Language {
        let mut found = Language::Unknown;
        for (section, name) in (0..self.sections).filter_map(|index| self.section(index)) {
            let place = self.names.saturating_add(name);
            let Some(name) = at_most::<NAME_BYTES>(self.file, place) else {
                continue;
            };
            if name.starts_with(GO_BUILD_INFO) {
                return Language::Go;
            }
            if name.starts_with(COMMENT) && self.is_of_rustc(section) {
                found = Language::Rust;
            }
            if name.starts_with(DYNAMIC) && self.brings_netcore(section) {
                return Language::DotNet;
            }
        }
        found
    }

    fn is_of_rustc(&self, comment: Section) -> bool {
        let mut text = [0; MAX_COMMENT_BYTES];
        let length = usize::try_from(comment.size).unwrap_or(usize::MAX);
        let text = &mut text[..length.min(MAX_COMMENT_BYTES)];
        let read = self.file.read_at(comment.offset, text);
        text[..read].windows(RUSTC.len()).any(|part| part == RUSTC)
    }

    fn brings_netcore(&self, dynamic: Section) -> bool {
        let word = self.layout.word;
        let entry_bytes = 2 * word as u64;
        let Some((strings, _)) = self.section(dynamic.link) else {
            return false;
        };
        let is_run_path = |index: u64| {
            let place = dynamic.offset.checked_add(index * entry_bytes)?;
            let entry: [u8; 16] = at_most(self.file, place)?;
            let tag = number(&entry[..word]);
            let name = strings.offset.checked_add(number(&entry[word..][..word]))?;
            let text: [u8; 32] = at_most(self.file, name)?;
            Some(matches!(tag, DT_RPATH | DT_RUNPATH) && text.starts_with(NETCORE_RUN_PATH))
        };
        let entries = (dynamic.size / entry_bytes).min(MAX_DYNAMIC);
        (0..entries).any(|index| is_run_path(index) == Some(true))
    }
}

/// A little-endian number of up to 8 bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn exactly<const N: usize>(file: &impl ReadAt, offset: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (file.read_at(offset, &mut bytes) == N).then_some(bytes)
}

/// What is there, with zeros behind it; none at the end of the file.
fn at_most<const N: usize>(file: &impl ReadAt, offset: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (file.read_at(offset, &mut bytes) > 0).then_some(bytes)
}

#[cfg(test)]
mod tests;
