//! What the object must be for aya to take it at all: one wrong section would lose every program.

mod btf;

use aya_obj::Object;
use nodescope_ebpf::{OBJECT, globals, maps};

#[test]
fn parses_with_btf_and_a_licence_the_kernel_accepts() {
    let object = Object::parse(OBJECT).expect("the object parses");
    assert!(object.btf.is_some() && object.btf_ext.is_some());
    assert_eq!(object.license.to_bytes(), b"Dual BSD/GPL");
}

#[test]
fn has_no_section_that_the_loader_refuses() {
    for (name, _) in btf::sections(OBJECT) {
        let refused = [
            ".kconfig",
            ".ksyms",
            "?",
            "kprobe.multi",
            "uprobe.multi",
            "struct_ops",
        ];
        assert!(
            !refused.iter().any(|start| name.starts_with(start)),
            "{name}"
        );
    }
}

#[test]
fn says_nothing_of_the_machine_it_was_built_on() {
    let directory = env!("CARGO_MANIFEST_DIR").as_bytes();
    assert!(
        !OBJECT
            .windows(directory.len())
            .any(|bytes| bytes == directory)
    );
}

#[test]
fn has_every_map_the_sensor_reads() {
    let object = Object::parse(OBJECT).expect("the object parses");
    let names = [
        maps::FLOWS,
        maps::OTHER_FLOWS,
        maps::LISTENS,
        maps::LISTEN_PORTS,
        maps::TRANSLATIONS,
        maps::OLDER_TRANSLATIONS,
        maps::SETTLEMENTS,
        maps::FOLLOWS_EVENTS,
        maps::CILIUM_CT4,
        maps::CILIUM_CT6,
        maps::CILIUM_BACKENDS4,
        maps::CILIUM_BACKENDS6,
        maps::PROCESSES,
        maps::POPULATIONS,
        maps::DELAYS,
        maps::THREADS,
        maps::CGROUPS,
        maps::LOSSES,
        maps::LOG_CANDIDATES,
        maps::EXECUTABLES,
        maps::SCAN,
        maps::EVENTS,
    ];
    for name in names {
        assert!(object.maps.contains_key(name), "{name}");
    }
}

#[test]
fn has_every_constant_the_sensor_sets() {
    let mut object = Object::parse(OBJECT).expect("the object parses");
    let value = 1_u32.to_ne_bytes();
    let wide = 1_u64.to_ne_bytes();
    let set = [
        globals::HOST_NETNS,
        globals::EVERY_NETNS,
        globals::V1_HIERARCHY,
        globals::V1_CONTROLLER,
    ];
    let constants = set
        .into_iter()
        .map(|name| (name, (&value[..], true)))
        .chain([(globals::STARTED_NS, (&wide[..], true))])
        .collect();
    object
        .patch_map_data(constants)
        .expect("the constants are in the object");
}
