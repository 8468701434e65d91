use super::{CgroupMounts, Pressure, Resources};

/// A hierarchy below a temporary directory.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, directory: &str, files: &[(&str, &str)]) {
        let directory = self.0.path().join(directory);
        std::fs::create_dir_all(&directory).unwrap();
        for (file, text) in files {
            std::fs::write(directory.join(file), text).unwrap();
        }
    }

    fn mounts(&self, v2: Option<&str>, v1: &[&str]) -> CgroupMounts {
        let point = |name: &str| Some(self.0.path().join(name));
        let v1 = |name: &str| v1.contains(&name).then(|| self.0.path().join(name));
        CgroupMounts {
            v2: v2.and_then(point),
            cpu: v1("cpu"),
            cpuacct: v1("cpuacct"),
            memory: v1("memory"),
            blkio: None,
        }
    }
}

const V1_MEMORY: &[(&str, &str)] = &[
    ("memory.limit_in_bytes", "21474836480\n"),
    (
        "memory.stat",
        "cache 1\nrss 2\nmapped_file 3\ntotal_cache 405\ntotal_rss 12778020864\ntotal_mapped_file 1997103104\n",
    ),
];
const V1_CPU: &[(&str, &str)] = &[
    ("cpu.cfs_quota_us", "150000\n"),
    ("cpu.cfs_period_us", "100000\n"),
    (
        "cpu.stat",
        "nr_periods 9\nnr_throttled 1\nthrottled_time 363166000\n",
    ),
];
const V2: &[(&str, &str)] = &[
    ("cpu.max", "10000 100000\n"),
    (
        "cpu.stat",
        "usage_usec 3795681254\nuser_usec 1\nsystem_usec 2\nnr_periods 3\nnr_throttled 1\nthrottled_usec 363166\n",
    ),
    ("memory.max", "max\n"),
    (
        "memory.stat",
        "anon 44892160\nfile 1044480\nkernel 7\nfile_mapped 4096\nfile_dirty 0\n",
    ),
    (
        "cpu.pressure",
        "some avg10=0 avg60=0 avg300=0 total=2000000\n",
    ),
    (
        "memory.pressure",
        "some avg10=0 avg60=0 avg300=0 total=3\nfull avg10=0 avg60=0 avg300=0 total=1\n",
    ),
];

#[test]
fn reads_v1() {
    let tree = Tree::new();
    tree.write("cpu/docker/x", V1_CPU);
    tree.write("cpuacct/docker/x", &[("cpuacct.usage", "3795681254000\n")]);
    tree.write("memory/docker/x", V1_MEMORY);
    let resources = tree
        .mounts(None, &["cpu", "cpuacct", "memory"])
        .read_resources(None, Some(b"/docker/x"));
    let wanted = Resources {
        cpu_limit_cores: Some(1.5),
        cpu_usage_seconds: Some(3795.681254),
        cpu_throttled_seconds: Some(0.363166),
        memory_limit_bytes: Some(21_474_836_480),
        memory_rss_bytes: Some(14_775_123_968),
        memory_cache_bytes: Some(405),
        ..Resources::default()
    };
    assert_eq!(resources, wanted);
}

#[test]
fn reads_v2() {
    let tree = Tree::new();
    tree.write("system.slice/a.service", V2);
    let resources = tree
        .mounts(Some("."), &[])
        .read_resources(Some(b"/system.slice/a.service"), None);
    let wanted = Resources {
        cpu_limit_cores: Some(0.1),
        cpu_usage_seconds: Some(3795.681254),
        cpu_throttled_seconds: Some(0.363166),
        memory_limit_bytes: None,
        memory_rss_bytes: Some(44_896_256),
        memory_cache_bytes: Some(1_044_480),
        cpu_pressure: Some(Pressure {
            some_seconds: 2.0,
            full_seconds: None,
        }),
        memory_pressure: Some(Pressure {
            some_seconds: 3e-6,
            full_seconds: Some(1e-6),
        }),
        io_pressure: None,
    };
    assert_eq!(resources, wanted);
}

#[test]
fn a_hybrid_system_reads_each_controller_where_it_is() {
    let tree = Tree::new();
    tree.write("unified/system.slice/a.service", V2);
    tree.write("memory/system.slice/a.service", V1_MEMORY);
    tree.write("cpu/other", &[]);
    let mounts = tree.mounts(Some("unified"), &["cpu", "cpuacct", "memory"]);
    let path = Some(&b"/system.slice/a.service"[..]);
    let resources = mounts.read_resources(path, path);
    assert_eq!(
        (resources.cpu_limit_cores, resources.memory_limit_bytes),
        (Some(0.1), Some(21_474_836_480))
    );
    assert_eq!(resources.cpu_usage_seconds, Some(3795.681254));
    assert_eq!(
        mounts.read_resources(path, Some(b"/")),
        mounts.read_resources(path, None)
    );
}

#[test]
fn no_limit_is_absent() {
    let tree = Tree::new();
    tree.write(
        "cpu/x",
        &[
            ("cpu.cfs_quota_us", "-1\n"),
            ("cpu.cfs_period_us", "100000\n"),
        ],
    );
    tree.write(
        "memory/x",
        &[("memory.limit_in_bytes", "9223372036854771712\n")],
    );
    tree.write(
        "v2/x",
        &[("cpu.max", "max 100000\n"), ("cpu.stat", "usage_usec 7\n")],
    );
    let v1 = tree
        .mounts(None, &["cpu", "memory"])
        .read_resources(None, Some(b"/x"));
    assert_eq!(v1, Resources::default());
    let v2 = tree
        .mounts(Some("v2"), &[])
        .read_resources(Some(b"/x"), None);
    assert_eq!(
        v2,
        Resources {
            cpu_usage_seconds: Some(7e-6),
            ..Resources::default()
        }
    );
}

#[test]
fn garbage_costs_its_own_value() {
    let tree = Tree::new();
    tree.write("x", V2);
    tree.write(
        "x",
        &[
            ("cpu.stat", "\0usage_usec x\nthrottled_usec"),
            ("cpu.max", "1 0"),
        ],
    );
    std::fs::write(tree.0.path().join("x/memory.max"), b"\xff\xfe").unwrap();
    let resources = tree
        .mounts(Some("."), &[])
        .read_resources(Some(b"/x"), None);
    assert_eq!(
        resources.cpu_usage_seconds.or(resources.cpu_limit_cores),
        None
    );
    assert_eq!(
        (resources.memory_limit_bytes, resources.memory_cache_bytes),
        (None, Some(1_044_480))
    );
}

#[test]
fn nobody_is_charged_for_the_root_or_for_what_is_outside() {
    let tree = Tree::new();
    for directory in ["v2", "v2/init.scope", "outside"] {
        tree.write(directory, V2);
    }
    let mounts = tree.mounts(Some("v2"), &[]);
    let paths: [&[u8]; 8] = [
        b"/",
        b"",
        b"//",
        b"/init.scope",
        b"/../outside",
        b"/x/../../outside",
        b"init.scope",
        b"/gone",
    ];
    for path in paths {
        assert_eq!(
            mounts.read_resources(Some(path), None),
            Resources::default(),
            "{}",
            path.escape_ascii()
        );
    }
}
