use proptest::prelude::*;

use super::*;

impl ReadAt for Vec<u8> {
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> usize {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.get(from..).unwrap_or_default();
        let length = rest.len().min(bytes.len());
        bytes[..length].copy_from_slice(&rest[..length]);
        length
    }
}

/// A file with these sections: name and content, and the number of the section that belongs to it.
fn file(layout: &Layout, sections: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..4].copy_from_slice(b"\x7fELF");
    bytes[4] = if layout.word == 8 { 2 } else { 1 };
    bytes[5] = 1;
    let mut names = Vec::new();
    let mut headers = Vec::new();
    let mut all = sections.to_vec();
    let of_names: Vec<u8> = sections
        .iter()
        .flat_map(|(name, ..)| name.bytes().chain([0]))
        .chain(*b".shstrtab\0")
        .collect();
    all.push((".shstrtab", &of_names, 0));
    for (name, content, link) in &all {
        let mut header = vec![0; layout.section_bytes];
        let mut put = |at: usize, value: usize, length: usize| {
            header[at..at + length].copy_from_slice(&value.to_le_bytes()[..length]);
        };
        put(0, names.len(), 4);
        put(layout.section_offset, bytes.len(), layout.word);
        put(layout.section_size, content.len(), layout.word);
        put(layout.section_link, *link as usize, 4);
        names.extend(name.bytes().chain([0]));
        headers.extend(header);
        bytes.extend(*content);
    }
    let table = bytes.len();
    bytes.extend(headers);
    let mut put = |at: usize, value: usize, length: usize| {
        bytes[at..at + length].copy_from_slice(&value.to_le_bytes()[..length]);
    };
    put(layout.section_table, table, layout.word);
    put(layout.section_count, all.len(), 2);
    put(layout.section_count + 2, all.len() - 1, 2);
    bytes
}

fn dynamic(layout: &Layout, tag: u64, name: u64) -> Vec<u8> {
    let entries = [(1, 1), (tag, name), (0, 0)];
    entries
        .iter()
        .flat_map(|(tag, value): &(u64, u64)| [*tag, *value])
        .flat_map(|field| field.to_le_bytes()[..layout.word].to_vec())
        .collect()
}

#[test]
fn marks() {
    for layout in [&ELF32, &ELF64] {
        let strings = b"\0libc.so.6\0$ORIGIN/netcoredeps\0";
        let run_path = dynamic(layout, DT_RUNPATH, 11);
        let other_path = dynamic(layout, DT_RUNPATH, 1);
        let other_tag = dynamic(layout, 14, 11);
        let text = (".text", b"code".as_slice(), 0);
        let comment = |content: &'static [u8]| (".comment", content, 0);
        type Sections<'a> = Vec<(&'a str, &'a [u8], u32)>;
        let cases: [(Sections<'_>, Language); 8] = [
            (vec![text, (".go.buildinfo", b"x", 0)], Language::Go),
            (vec![text, (".go.buildinfo2", b"x", 0)], Language::Unknown),
            (
                vec![text, comment(b"GCC: 12\0rustc version 1.90.0\0")],
                Language::Rust,
            ),
            (vec![text, comment(b"GCC: 12\0")], Language::Unknown),
            (
                vec![(".dynamic", &run_path, 1), (".dynstr", strings, 0)],
                Language::DotNet,
            ),
            (
                vec![(".dynamic", &other_path, 1), (".dynstr", strings, 0)],
                Language::Unknown,
            ),
            (
                vec![(".dynamic", &other_tag, 1), (".dynstr", strings, 0)],
                Language::Unknown,
            ),
            (vec![], Language::Unknown),
        ];
        for (sections, wanted) in cases {
            let file = file(layout, &sections);
            assert_eq!(language(&file), wanted, "{sections:?}");
        }
    }
}

#[test]
fn what_is_no_program_has_no_mark() {
    let mut big_endian = file(&ELF64, &[(".go.buildinfo", b"x", 0)]);
    big_endian[5] = 2;
    for file in [Vec::new(), b"#!/bin/sh\n".to_vec(), vec![0; 64], big_endian] {
        assert_eq!(language(&file), Language::Unknown);
    }
}

#[test]
fn this_test_is_a_rust_program() {
    let own = std::fs::read("/proc/self/exe").unwrap();
    assert_eq!(language(&own), Language::Rust);
}

/// Counts the reads.
struct Counted<'a>(&'a Vec<u8>, std::cell::Cell<u32>);

impl ReadAt for Counted<'_> {
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> usize {
        self.1.set(self.1.get() + 1);
        self.0.read_at(offset, bytes)
    }
}

proptest! {
    #[test]
    fn changed_bytes_neither_panic_nor_cost_much(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40),
        length in any::<prop::sample::Index>(),
    ) {
        let strings = b"\0$ORIGIN/netcoredeps\0";
        let run_path = dynamic(&ELF64, DT_RPATH, 1);
        let sections = [(".dynamic", run_path.as_slice(), 1), (".dynstr", strings, 0), (".comment", b"rustc", 0)];
        let mut file = file(&ELF64, &sections);
        for (place, byte) in changes {
            let place = place.index(file.len());
            file[place] = byte;
        }
        file.truncate(length.index(file.len() + 1));
        let counted = Counted(&file, std::cell::Cell::new(0));
        let _ = language(&counted);
        let most = 2 + MAX_SECTIONS * 2 * (2 + 2 * MAX_DYNAMIC);
        prop_assert!(u64::from(counted.1.get()) <= most);
    }
}
