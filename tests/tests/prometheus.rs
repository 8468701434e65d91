//! The page as Prometheus' own tools see it.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use nodescope_tests::*;

const CLASSIC: &str = "Accept: text/plain;version=0.0.4";
const OPENMETRICS: &str = "Accept: application/openmetrics-text;version=1.0.0";

#[test]
fn promtool_finds_nothing_wrong() {
    require_root!();
    let (agent, unit) = (Agent::start(), Unit::service("promtool"));
    with_traffic(&agent, &unit, 3);
    for accept in [CLASSIC, OPENMETRICS] {
        let page = http_get(agent.address(), "/metrics", &[accept])
            .expect("the page")
            .body;
        assert_eq!(
            page.ends_with(b"# EOF\n"),
            accept == OPENMETRICS,
            "only OpenMetrics has an end"
        );
        let mut promtool = Command::new("promtool");
        promtool.args(["check", "metrics"]).stdin(Stdio::piped());
        promtool.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = promtool.spawn().expect("promtool");
        child
            .stdin
            .take()
            .expect("it is piped")
            .write_all(&page)
            .expect("promtool reads");
        let output = child.wait_with_output().expect("promtool ends");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        // It reads only the classic format, where a counter's family has the `_total` that OpenMetrics leaves out. The
        // parser for OpenMetrics is the one of the next test.
        let is_expected =
            |line: &str| accept == OPENMETRICS && line.ends_with("_total no help text");
        let complaints: Vec<&str> = text.lines().filter(|line| !is_expected(line)).collect();
        assert!(complaints.is_empty(), "{accept}: {complaints:#?}");
    }
}

#[test]
fn prometheus_scrapes_both_formats() {
    require_root!();
    let (agent, unit) = (Agent::start(), Unit::service("scraped"));
    let to = with_traffic(&agent, &unit, 7);
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, protocol_flag) in [("openmetrics", None), ("classic", Some(CLASSIC))] {
        // Prometheus itself asks for OpenMetrics first; a relay that asks for the other format stands in for old ones.
        let relay = protocol_flag.map(|accept| Relay::start(agent.address(), accept));
        let target = relay
            .as_ref()
            .map_or(agent.address(), |relay| relay.address);
        let prometheus = Prometheus::start(&directory.path().join(name), target);
        let query = format!(
            "container_net_tcp_successful_connects_total{{container_id=\"{}\",destination=\"{to}\"}}",
            unit.path()
        );
        let value = prometheus.eventually(&query);
        assert_eq!(value, "7", "{name}");
        assert_eq!(prometheus.eventually("up"), "1", "{name}");
    }
}

#[test]
fn compressed_when_asked() {
    require_root!();
    let agent = Agent::start();
    let plain = http_get(agent.address(), "/metrics", &[]).expect("the page");
    assert_eq!(plain.header("content-encoding"), None);
    let packed =
        http_get(agent.address(), "/metrics", &["Accept-Encoding: gzip"]).expect("the page");
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.starts_with(&[0x1f, 0x8b]) && packed.body.len() < plain.body.len());
    assert_eq!(
        http_get(agent.address(), "/healthz", &[])
            .expect("an answer")
            .status,
        200
    );
    assert_eq!(
        http_get(agent.address(), "/nothing", &[])
            .expect("an answer")
            .status,
        404
    );
}

/// Makes `count` connects and waits until they are on the page; returns where they went.
fn with_traffic(agent: &Agent, unit: &Unit, count: u64) -> String {
    let server = Server::start(Agent::here(), &format!("127.0.0.1:{}", free_port()));
    let to = server.address().to_string();
    run_load(
        Place::in_unit(unit),
        &format!("connect --to {to} --count {count}"),
    );
    let labels = [("container_id", unit.path()), ("destination", to.as_str())];
    agent.settles(
        "container_net_tcp_successful_connects_total",
        &labels,
        count,
    );
    to
}

/// A Prometheus server that scrapes one target every second.
struct Prometheus {
    process: Process,
    address: SocketAddr,
}

impl Prometheus {
    fn start(directory: &std::path::Path, target: SocketAddr) -> Self {
        std::fs::create_dir(directory).expect("a directory of our own");
        let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = probe.local_addr().expect("its address");
        drop(probe);
        let config = directory.join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: nodescope\n  \
             static_configs: [{{targets: ['{target}']}}]\n"
        );
        std::fs::write(&config, text).expect("a file of our own");
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!(
            "--storage.tsdb.path={}",
            directory.join("data").display()
        ));
        command.arg(format!("--web.listen-address={address}"));
        Self {
            process: Process::start("prometheus", &mut command, &directory.join("log")),
            address,
        }
    }

    /// The value of a query that has one series, once it has it.
    fn eventually(&self, query: &str) -> String {
        let value = poll(DEADLINE, || {
            let path = format!("/api/v1/query?query={}", escaped(query));
            let text = http_get(self.address, &path, &[]).ok()?.text();
            let answer: serde_json::Value = serde_json::from_str(&text).ok()?;
            let result = answer["data"]["result"].as_array()?;
            assert!(result.len() <= 1, "{query}: {text}");
            Some(result.first()?["value"][1].as_str()?.to_owned())
        });
        value.unwrap_or_else(|| panic!("no value for {query}\n{}", self.process.log_tail()))
    }
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// Passes requests on with an `Accept` header of its own.
struct Relay {
    address: SocketAddr,
}

impl Relay {
    fn start(to: SocketAddr, accept: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("its address");
        // It ends with the test.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A scraper that went away is no concern of the relay.
                let _ = relay(stream, to, accept);
            }
        });
        Self { address }
    }
}

fn relay(mut stream: std::net::TcpStream, to: SocketAddr, accept: &str) -> std::io::Result<()> {
    use std::io::{BufRead, BufReader};
    for line in BufReader::new(stream.try_clone()?).lines() {
        if line?.is_empty() {
            break;
        }
    }
    let response = http_get(to, "/metrics", &[accept]).map_err(std::io::Error::other)?;
    let content_type = response.header("content-type").unwrap_or_default();
    write!(
        stream,
        "HTTP/1.1 {} OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        response.status,
        response.body.len()
    )?;
    stream.write_all(&response.body)
}
