use super::{Exposition, Format, Summary};
use crate::metrics::catalogue::container::{ACTIVE_CONNECTIONS, CPU_PRESSURE, OOM_KILLS, RESTARTS};
use crate::metrics::{Descriptor, Kind, Scope, SeriesLabels};

fn container(id: &str) -> SeriesLabels {
    SeriesLabels::new(&[
        ("machine_id", "m"),
        ("system_uuid", "u"),
        ("container_id", id),
        ("app_id", ""),
    ])
}

fn page(format: Format, write: impl FnOnce(&mut Exposition<'_>)) -> (String, Summary) {
    let mut out = Vec::new();
    let mut exposition = Exposition::new(format, &mut out);
    write(&mut exposition);
    let summary = exposition.finish();
    (String::from_utf8(out).unwrap(), summary)
}

fn write_two_families(exposition: &mut Exposition<'_>) {
    exposition.family(&RESTARTS);
    exposition.sample(&container("/a"), 3u64);
    exposition.sample(&container("/b\"\n"), 0u64);
    exposition.family(&OOM_KILLS);
    exposition.family(&ACTIVE_CONNECTIONS);
    let to = SeriesLabels::new(&[("destination", "[::1]:80"), ("actual_destination", "")]);
    exposition.sample_with(&container("/a"), &to, 1.5);
}

#[test]
fn writes_text() {
    let (page, summary) = page(Format::Text, write_two_families);
    assert_eq!(
        page,
        concat!(
            "# HELP container_restarts_total Times a process began after all earlier processes of the container were gone\n",
            "# TYPE container_restarts_total counter\n",
            "container_restarts_total{machine_id=\"m\",system_uuid=\"u\",container_id=\"/a\",app_id=\"\"} 3\n",
            "container_restarts_total{machine_id=\"m\",system_uuid=\"u\",container_id=\"/b\\\"\\n\",app_id=\"\"} 0\n",
            "# HELP container_net_tcp_active_connections ",
            "Outbound TCP connections that are established now; absent when there is none\n",
            "# TYPE container_net_tcp_active_connections gauge\n",
            "container_net_tcp_active_connections{machine_id=\"m\",system_uuid=\"u\",container_id=\"/a\",app_id=\"\",",
            "destination=\"[::1]:80\",actual_destination=\"\"} 1.5\n",
        )
    );
    assert_eq!(
        summary.series,
        [
            ("container_restarts_total", 2),
            ("container_net_tcp_active_connections", 1)
        ]
    );
}

#[test]
fn openmetrics_names_a_counter_without_total() {
    let (page, _) = page(Format::OpenMetrics, write_two_families);
    assert!(page.contains("# HELP container_restarts Times"), "{page}");
    assert!(
        page.contains("# TYPE container_restarts counter\ncontainer_restarts_total{"),
        "{page}"
    );
    assert!(
        page.contains("# TYPE container_net_tcp_active_connections gauge\n"),
        "{page}"
    );
}

static ODD: Descriptor = Descriptor {
    name: "container_jvm_gc_time_seconds",
    kind: Kind::Counter,
    scope: Scope::Own,
    labels: &[],
    help: "A \"quoted\" \\ and\nbroken line",
};

#[test]
fn a_counter_without_total_is_unknown_in_openmetrics() {
    let write = |exposition: &mut Exposition<'_>| {
        exposition.family(&ODD);
        exposition.sample(&SeriesLabels::default(), 0.25);
    };
    assert_eq!(
        page(Format::Text, write).0,
        "# HELP container_jvm_gc_time_seconds A \"quoted\" \\\\ and\\nbroken line\n\
         # TYPE container_jvm_gc_time_seconds counter\ncontainer_jvm_gc_time_seconds 0.25\n"
    );
    assert_eq!(
        page(Format::OpenMetrics, write).0,
        "# HELP container_jvm_gc_time_seconds A \\\"quoted\\\" \\\\ and\\nbroken line\n\
         # TYPE container_jvm_gc_time_seconds unknown\ncontainer_jvm_gc_time_seconds 0.25\n"
    );
}

#[test]
fn a_bad_series_costs_only_itself() {
    let some = SeriesLabels::new(&[("kind", "some")]);
    let full = SeriesLabels::new(&[("kind", "full")]);
    let whole = SeriesLabels::new(&[
        ("machine_id", "m"),
        ("system_uuid", "u"),
        ("container_id", "/a"),
        ("app_id", ""),
        ("kind", "some"),
    ]);
    let (page, summary) = page(Format::Text, |exposition| {
        exposition.sample(&container("/a"), 1u64);
        exposition.family(&CPU_PRESSURE);
        exposition.sample_with(&container("/a"), &some, f64::NAN);
        exposition.sample_with(&container("/a"), &some, -1.0);
        exposition.sample_with(&container("/a"), &some, 1.0);
        exposition.sample_with(&container("/a"), &full, 1.0);
        exposition.sample_with(&container("/a"), &full, 2.0);
        exposition.sample(&whole, 3.0);
        exposition.family(&RESTARTS);
        exposition.sample(&container("/a"), 1u64);
        exposition.family(&CPU_PRESSURE);
        exposition.sample_with(&container("/b"), &some, 1.0);
    });
    assert_eq!(
        page.lines().filter(|line| !line.starts_with('#')).count(),
        3,
        "{page}"
    );
    assert_eq!(
        (
            summary.duplicates,
            summary.invalid_values,
            summary.out_of_order
        ),
        (2, 2, 2)
    );
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "other labels in the catalogue")]
fn labels_that_are_not_in_the_catalogue_are_a_bug() {
    page(Format::Text, |exposition| {
        exposition.family(&CPU_PRESSURE);
        exposition.sample(&container("/a"), 1u64);
    });
}
