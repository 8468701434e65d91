//! Just enough of a BTF reader for layouts of structs: finds `.BTF` in a little-endian ELF64 file and reads its types
//! (`Documentation/bpf/btf.rst` in the kernel's sources). For tests of our own object: it panics on anything else.
#![allow(dead_code, reason = "each test uses a part of it")]

/// A field and where it is, in bytes.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) offset: usize,
    pub(crate) bytes: usize,
}

/// A struct.
#[derive(Debug, Clone)]
pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) bytes: usize,
    pub(crate) members: Vec<Member>,
}

impl Struct {
    pub(crate) fn member(&self, name: &str) -> &Member {
        self.members
            .iter()
            .find(|member| member.name == name)
            .unwrap_or_else(|| panic!("struct {} has no field {name}", self.name))
    }
}

struct Type {
    name: String,
    kind: u32,
    /// Size, or the type it leads to.
    size_or_type: u32,
    /// What follows the header, as words.
    rest: Vec<u32>,
    /// Names of a struct's fields.
    fields: Vec<String>,
}

pub(crate) struct Btf {
    types: Vec<Type>,
}

const INT: u32 = 1;
const PTR: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const ENUM64: u32 = 19;

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn long(bytes: &[u8], at: usize) -> usize {
    usize::try_from(u64::from_le_bytes(
        bytes[at..at + 8].try_into().expect("eight bytes"),
    ))
    .expect("fits")
}

fn text(strings: &[u8], at: usize) -> String {
    let end = strings[at..]
        .iter()
        .position(|byte| *byte == 0)
        .expect("a terminated string");
    String::from_utf8_lossy(&strings[at..at + end]).into_owned()
}

/// Names and contents of an object's sections.
pub(crate) fn sections(elf: &[u8]) -> Vec<(String, &[u8])> {
    assert_eq!(&elf[..5], b"\x7fELF\x02", "an ELF64 file");
    let half = |at: usize| usize::from(u16::from_le_bytes([elf[at], elf[at + 1]]));
    let (table, entry_bytes, count, names_index) =
        (long(elf, 0x28), half(0x3a), half(0x3c), half(0x3e));
    let header = |index: usize| &elf[table + index * entry_bytes..][..entry_bytes];
    let contents = |header: &[u8]| {
        // SHT_NOBITS has a size but no bytes.
        if word(header, 4) == 8 {
            &elf[..0]
        } else {
            &elf[long(header, 0x18)..][..long(header, 0x20)]
        }
    };
    let names = contents(header(names_index));
    (0..count)
        .map(|index| {
            (
                text(names, word(header(index), 0) as usize),
                contents(header(index)),
            )
        })
        .collect()
}

impl Btf {
    pub(crate) fn of_object(elf: &[u8]) -> Self {
        let sections = sections(elf);
        let (_, btf) = sections
            .iter()
            .find(|(name, _)| name == ".BTF")
            .expect("a .BTF section");
        let header_bytes = word(btf, 4) as usize;
        let types = &btf[header_bytes + word(btf, 8) as usize..][..word(btf, 12) as usize];
        let strings = &btf[header_bytes + word(btf, 16) as usize..][..word(btf, 20) as usize];
        Self {
            types: read_types(types, strings),
        }
    }

    fn bytes_of(&self, id: u32) -> usize {
        let kind = &self.types[id as usize - 1];
        match kind.kind {
            INT | STRUCT | UNION | ENUM | ENUM64 => kind.size_or_type as usize,
            PTR => 8,
            ARRAY => self.bytes_of(kind.rest[0]) * kind.rest[2] as usize,
            // typedef, const, volatile
            _ => self.bytes_of(kind.size_or_type),
        }
    }

    pub(crate) fn layout(&self, name: &str) -> Struct {
        let found = self
            .types
            .iter()
            .find(|kind| kind.kind == STRUCT && kind.name == name);
        let found = found.unwrap_or_else(|| panic!("no struct {name} in the BTF"));
        let members = found
            .rest
            .chunks_exact(3)
            .zip(&found.fields)
            .map(|(raw, name)| Member {
                name: name.clone(),
                offset: raw[2] as usize / 8,
                bytes: self.bytes_of(raw[1]),
            });
        Struct {
            name: name.to_owned(),
            bytes: found.size_or_type as usize,
            members: members.collect(),
        }
    }
}

fn read_types(mut bytes: &[u8], strings: &[u8]) -> Vec<Type> {
    let mut types = Vec::new();
    while !bytes.is_empty() {
        let info = word(bytes, 4);
        let (kind, count) = ((info >> 24) & 0x1f, (info & 0xffff) as usize);
        let words = match kind {
            INT | 14 | 17 => 1,
            ARRAY => 3,
            STRUCT | UNION | 15 | ENUM64 => count * 3,
            ENUM | 13 => count * 2,
            _ => 0,
        };
        let rest: Vec<u32> = (0..words)
            .map(|index| word(bytes, 12 + index * 4))
            .collect();
        let fields = if kind == STRUCT {
            rest.chunks_exact(3)
                .map(|raw| text(strings, raw[0] as usize))
                .collect()
        } else {
            Vec::new()
        };
        let name = text(strings, word(bytes, 0) as usize);
        types.push(Type {
            name,
            kind,
            size_or_type: word(bytes, 8),
            rest,
            fields,
        });
        bytes = &bytes[12 + words * 4..];
    }
    types
}
