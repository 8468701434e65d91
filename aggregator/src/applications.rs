//! Guesses what kind of program a process is from its command line, as `/proc/PID/cmdline` has it, and from what the sensor
//! says of its executable.
//!
//! The values of the label `application_type` and the order of the rules are coroot-node-agent's, because dashboards and
//! rules of others test for them. The process chooses these bytes itself, so a guess is all it is.

use nodescope_schema::Language;

/// How much of a command line is looked at: a Java class path of many jars comes before the main class.
pub const MAX_CMDLINE_BYTES: u64 = 64 << 10;

/// What must hold for a type.
enum Test {
    /// The command ends with this.
    Suffix(&'static str),
    /// The command ends with the first, and the second is anywhere in the command line.
    SuffixWith(&'static str, &'static str),
    /// This is anywhere in the command line.
    Anywhere(&'static str),
    /// The command's file name is this, and perhaps a version.
    Versioned(&'static str),
}

use Test::{Anywhere, Suffix, SuffixWith, Versioned};

/// The first test that holds gives the type.
const RULES: &[(Test, &str)] = &[
    (Suffix("memcached"), "memcached"),
    (Suffix("envoy"), "envoy"),
    (Suffix("mongod"), "mongodb"),
    (Suffix("mongos"), "mongos"),
    (Suffix("mysqld"), "mysql"),
    (Suffix("mariadbd"), "mysql"),
    (Suffix("sqlservr"), "mssql"),
    (Suffix("redis-server"), "redis"),
    (Suffix("redis-sentinel"), "redis-sentinel"),
    (Suffix("valkey-server"), "valkey"),
    (Suffix("keydb-server"), "keydb"),
    (Suffix("dragonfly"), "dragonfly"),
    (SuffixWith("beam.smp", "rabbit"), "rabbitmq"),
    (SuffixWith("beam.smp", "couch"), "couchbase"),
    (Suffix("pgbouncer"), "pgbouncer"),
    (Suffix("postgres"), "postgres"),
    (Suffix("haproxy"), "haproxy"),
    (Suffix("nginx"), "nginx"),
    (Suffix("kubelet"), "kubelet"),
    (Suffix("kube-apiserver"), "kube-apiserver"),
    (Suffix("kube-controller-manager"), "kube-controller-manager"),
    (Suffix("kube-scheduler"), "kube-scheduler"),
    (Suffix("k3s"), "k3s"),
    (Suffix("etcd"), "etcd"),
    (Suffix("dockerd"), "dockerd"),
    (Suffix("consul"), "consul"),
    (Suffix("clickhouse-server"), "clickhouse"),
    (Suffix("traefik"), "traefik"),
    (Suffix("asd"), "aerospike"),
    (Suffix("httpd"), "httpd"),
    (Suffix("apache"), "httpd"),
    (Suffix("apache2"), "httpd"),
    (Suffix("influxd"), "influxdb"),
    (Suffix("vault"), "vault"),
    (Suffix("proxysql"), "proxysql"),
    (Suffix("cockroach"), "cockroach"),
    (Suffix("prometheus"), "prometheus"),
    (Suffix("ceph-mon"), "ceph"),
    (Suffix("ceph-mgr"), "ceph"),
    (Suffix("ceph-osd"), "ceph"),
    (Suffix("cephcsi"), "ceph"),
    (Suffix("rook"), "rook"),
    (Suffix("nats-server"), "nats"),
    (Suffix("coroot-node-agent"), "coroot-node-agent"),
    (Suffix("coroot-cluster-agent"), "coroot-cluster-agent"),
    (Suffix("coroot-operator"), "coroot-operator"),
    (Suffix("coroot-ee"), "coroot-enterprise-edition"),
    (Suffix("coroot"), "coroot-community-edition"),
    (Suffix("fdbserver"), "foundationdb"),
    (Suffix("ollama"), "ollama"),
    (Suffix("victoria-metrics"), "victoria-metrics"),
    (Suffix("vmstorage"), "victoria-metrics"),
    (Suffix("vminsert"), "victoria-metrics"),
    (Suffix("vmselect"), "victoria-metrics"),
    (Suffix("victoria-logs"), "victoria-logs"),
    (Suffix("w3wp"), "dotnet"),
    (Suffix("opensearch"), "opensearch"),
    (Anywhere("org.opensearch.bootstrap"), "opensearch"),
    (Anywhere("org.elasticsearch.bootstrap"), "elasticsearch"),
    (Anywhere("kafka.Kafka"), "kafka"),
    (
        Anywhere("io.confluent.support.metrics.SupportedKafka"),
        "kafka",
    ),
    (Anywhere("quorum.QuorumPeerMain"), "zookeeper"),
    (Anywhere("CassandraDaemon"), "cassandra"),
    (Anywhere("org.apache.catalina.startup.Bootstrap"), "tomcat"),
    (Suffix("java"), "java"),
    (Versioned("dotnet"), "dotnet"),
    (Versioned("php"), "php"),
    (Versioned("php-fpm"), "php"),
    (Versioned("php-cgi"), "php"),
    (Versioned("python"), "python"),
    (Versioned("node"), "nodejs"),
    (Versioned("nodejs"), "nodejs"),
    (Versioned("ruby"), "ruby"),
];

/// The type of the process with this command line, if it is a known one.
pub fn application_type(cmdline: &[u8]) -> Option<&'static str> {
    let command = command(cmdline)?;
    RULES
        .iter()
        .find(|(test, _)| test.holds(command, cmdline))
        .map(|(_, application_type)| *application_type)
}

/// The type of a process whose command line tells nothing, by the name of its executable: interpreters, whose
/// programs may have written over their arguments.
pub fn application_type_of_executable(name: &[u8]) -> Option<&'static str> {
    RULES
        .iter()
        .filter(|(test, _)| matches!(test, Versioned(_)))
        .find(|(test, _)| test.holds(name, b""))
        .map(|(_, application_type)| *application_type)
}

/// The type of a program that was written in a language.
pub fn application_type_of_language(language: Language) -> Option<&'static str> {
    match language {
        Language::Unknown => None,
        Language::Go => Some("golang"),
        Language::Rust => Some("rust"),
        Language::DotNet => Some("dotnet"),
    }
}

/// The first word of the first argument, without the colon that servers put there when they write a title over their
/// arguments (`nginx: worker process`).
pub fn command(cmdline: &[u8]) -> Option<&[u8]> {
    let first = cmdline.split(|byte| *byte == 0).next()?;
    let word = first
        .split(u8::is_ascii_whitespace)
        .find(|word| !word.is_empty())?;
    Some(word.strip_suffix(b":").unwrap_or(word))
}

impl Test {
    fn holds(&self, command: &[u8], cmdline: &[u8]) -> bool {
        match self {
            Suffix(end) => command.ends_with(end.as_bytes()),
            SuffixWith(end, part) => command.ends_with(end.as_bytes()) && contains(cmdline, part),
            Anywhere(part) => contains(cmdline, part),
            Versioned(name) => is_versioned(command, name),
        }
    }
}

fn contains(text: &[u8], part: &str) -> bool {
    text.windows(part.len())
        .any(|window| window == part.as_bytes())
}

/// `/usr/bin/python3.12` for `python`.
fn is_versioned(command: &[u8], name: &str) -> bool {
    let file = command.rsplit(|byte| *byte == b'/').next();
    let version = file.and_then(|file| file.strip_prefix(name.as_bytes()));
    version.is_some_and(|version| {
        version
            .iter()
            .all(|byte| byte.is_ascii_digit() || *byte == b'.')
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_command_lines() {
        let cases: &[(&[u8], &str)] = &[
            (b"/usr/sbin/nginx\0-g\0daemon off;\0", "nginx"),
            (b"nginx: worker process\0", "nginx"),
            (b"postgres: checkpointer \0\0\0", "postgres"),
            (
                b"/usr/lib/postgresql/16/bin/postgres\0-D\0/data\0",
                "postgres",
            ),
            (b"redis-server *:6379\0\0\0", "redis"),
            (b"mariadbd\0", "mysql"),
            (
                b"/usr/lib/erlang/erts-14/bin/beam.smp\0-W\0w\0-pa\0/usr/lib/rabbitmq\0",
                "rabbitmq",
            ),
            (
                b"/opt/couchbase/bin/beam.smp\0-config\0couchbase\0",
                "couchbase",
            ),
            (
                b"/usr/bin/java\0-Xmx1G\0kafka.Kafka\0server.properties\0",
                "kafka",
            ),
            (
                b"java\0-cp\0x\0org.apache.zookeeper.server.quorum.QuorumPeerMain\0",
                "zookeeper",
            ),
            (
                b"java\0org.apache.cassandra.service.CassandraDaemon\0",
                "cassandra",
            ),
            (
                b"java\0org.elasticsearch.bootstrap.Elasticsearch\0",
                "elasticsearch",
            ),
            (b"/opt/jdk/bin/java\0-jar\0app.jar\0", "java"),
            (b"php-fpm: pool www\0", "php"),
            (b"/usr/sbin/php-fpm8.2\0", "php"),
            (b"/usr/bin/python3.12\0app.py\0", "python"),
            (b"node\0server.js\0", "nodejs"),
            (b"/usr/local/bin/ruby2.7\0", "ruby"),
            (b"/usr/bin/ceph-osd\0-i\x001\0", "ceph"),
            (b"/opt/coroot/coroot\0", "coroot-community-edition"),
        ];
        for (cmdline, wanted) in cases {
            let found = application_type(cmdline);
            assert_eq!(found, Some(*wanted), "{}", cmdline.escape_ascii());
        }
    }

    #[test]
    fn what_is_not_known_has_no_type() {
        let cases: &[&[u8]] = &[
            b"",
            b"\0",
            b"   \0nginx\0",
            b" \t\n",
            b":",
            b"/bin/sh\0-c\0sleep 1\0",
            b"beam.smp\0elixir\0",
            b"pythonic\0",
            b"/opt/python/wrapper\0",
            b"postgres_exporter\0",
            b"\xff\xfe\0",
        ];
        for cmdline in cases {
            let found = application_type(cmdline);
            assert_eq!(found, None, "{}", cmdline.escape_ascii());
        }
    }

    #[test]
    fn names_of_executables() {
        let cases: &[(&[u8], Option<&str>)] = &[
            (b"python3.11", Some("python")),
            (b"php-fpm8.2", Some("php")),
            (b"node", Some("nodejs")),
            (b"nginx", None),
            (b"", None),
        ];
        for (name, wanted) in cases {
            let found = application_type_of_executable(name);
            assert_eq!(found, *wanted, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn every_rule_can_be_the_first_that_holds() {
        for (test, wanted) in RULES {
            let cmdline = match test {
                Suffix(name) | Versioned(name) => format!("/usr/bin/{name}\0"),
                SuffixWith(name, part) => format!("/usr/bin/{name}\0{part}\0"),
                Anywhere(part) => format!("/usr/bin/java\0{part}\0"),
            };
            assert_eq!(
                application_type(cmdline.as_bytes()),
                Some(*wanted),
                "{cmdline:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = application_type(&bytes);
        }
    }
}
