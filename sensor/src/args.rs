//! The command line. It is all the configuration there is: root parses no file. A service sets flags through the
//! variable its unit expands (`EnvironmentFile=` and `$NODESCOPE_SENSOR_FLAGS`).
//!
//! A flag is one row of [`FLAGS`]; `--help` is made from the table.

use std::path::PathBuf;
use std::time::Duration;

use lexopt::{Arg, Parser, ValueExt};

use crate::exit::STATUSES;

/// What the flags say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Args {
    /// What to do.
    pub mode: Mode,
    /// `--check` prints JSON.
    pub json: bool,
    /// Where to listen.
    pub socket: PathBuf,
    /// Name of the user that may connect beside root.
    pub client_user: String,
    /// How often the kernel's maps are read.
    pub poll_interval: Duration,
    /// Root directory of the node's files.
    pub host_root: PathBuf,
    /// File that the stream is also written to.
    pub record: Option<PathBuf>,
    /// Longest recording.
    pub record_limit_bytes: u64,
    /// How often each ping target is asked; zero for never.
    pub ping_interval: Duration,
    /// Entries of the map of flows; none for the default.
    pub max_flows: Option<u32>,
    /// How long a flow is idle before it may go to make room; none for the default.
    pub flow_idle: Option<Duration>,
    /// Entries of the map of listening sockets.
    pub max_listens: Option<u32>,
    /// Entries of the map of processes.
    pub max_processes: Option<u32>,
    /// Entries of the map of cgroups.
    pub max_cgroups: Option<u32>,
    /// Whether translations in namespaces of containers count too.
    pub nat_in_containers: bool,
    /// Whether translations are learnt from ctnetlink events.
    pub conntrack_events: bool,
    /// Whether delays are asked of taskstats.
    pub taskstats: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Serve.
    Run,
    /// Load everything, print the verdicts, end.
    Check,
    /// Print the flags.
    Help,
    /// Print the version.
    Version,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            mode: Mode::Run,
            json: false,
            socket: PathBuf::from("/run/nodescope/sensor.sock"),
            client_user: "nodescope".to_owned(),
            poll_interval: Duration::from_secs(1),
            host_root: PathBuf::from("/"),
            record: None,
            record_limit_bytes: 1 << 30,
            ping_interval: crate::ping::INTERVAL,
            max_flows: None,
            flow_idle: None,
            max_listens: None,
            max_processes: None,
            max_cgroups: None,
            nat_in_containers: false,
            conntrack_events: false,
            taskstats: false,
        }
    }
}

/// A flag.
#[derive(Debug)]
struct Flag {
    name: &'static str,
    /// Name of its value; empty for one without.
    value: &'static str,
    help: &'static str,
    set: fn(&mut Args, &mut Parser) -> Result<(), lexopt::Error>,
}

const FLAGS: [Flag; 19] = [
    Flag {
        name: "socket",
        value: "PATH",
        help: "listen here (default /run/nodescope/sensor.sock) unless systemd passes a socket",
        set: |args, parser| {
            args.socket = parser.value()?.into();
            Ok(())
        },
    },
    Flag {
        name: "client-user",
        value: "NAME",
        help: "local user that may connect beside root (default nodescope)",
        set: |args, parser| {
            args.client_user = parser.value()?.string()?;
            Ok(())
        },
    },
    Flag {
        name: "poll-interval-ms",
        value: "N",
        help: "read the kernel's counters this often, 100 to 60000 (default 1000)",
        set: |args, parser| {
            let millis = number(parser, 100, 60_000)?;
            args.poll_interval = Duration::from_millis(millis);
            Ok(())
        },
    },
    Flag {
        name: "ping-interval-s",
        value: "N",
        help: "ask each destination for an echo this often, 1 to 20 (default 10); 0 for never",
        set: |args, parser| {
            args.ping_interval = Duration::from_secs(number(parser, 0, 20)?);
            Ok(())
        },
    },
    Flag {
        name: "host-root",
        value: "DIR",
        help: "root of the node's file system, for files of container runtimes (default /)",
        set: |args, parser| {
            args.host_root = parser.value()?.into();
            Ok(())
        },
    },
    Flag {
        name: "record",
        value: "FILE",
        help: "also write the stream to a new file, readable by its owner only",
        set: |args, parser| {
            args.record = Some(parser.value()?.into());
            Ok(())
        },
    },
    Flag {
        name: "record-limit-mib",
        value: "N",
        help: "stop recording at this size (default 1024)",
        set: |args, parser| {
            args.record_limit_bytes = number(parser, 1, 1 << 30)? << 20;
            Ok(())
        },
    },
    Flag {
        name: "max-flows",
        value: "N",
        help: "room in the kernel for destinations (default 65536); more are counted together",
        set: |args, parser| {
            args.max_flows = Some(entries(parser)?);
            Ok(())
        },
    },
    Flag {
        name: "flow-idle-s",
        value: "N",
        help: "a destination idle this long may make room for others (default 600)",
        set: |args, parser| {
            args.flow_idle = Some(Duration::from_secs(number(parser, 1, 1 << 20)?));
            Ok(())
        },
    },
    Flag {
        name: "max-listens",
        value: "N",
        help: "room in the kernel for listening sockets (default 16384)",
        set: |args, parser| {
            args.max_listens = Some(entries(parser)?);
            Ok(())
        },
    },
    Flag {
        name: "max-processes",
        value: "N",
        help: "room in the kernel for processes (default 65536)",
        set: |args, parser| {
            args.max_processes = Some(entries(parser)?);
            Ok(())
        },
    },
    Flag {
        name: "max-cgroups",
        value: "N",
        help: "room in the kernel for cgroups (default 16384)",
        set: |args, parser| {
            args.max_cgroups = Some(entries(parser)?);
            Ok(())
        },
    },
    Flag {
        name: "nat-in-containers",
        value: "",
        help: "count translations of destinations in the networks of containers too (wants CAP_SYS_ADMIN)",
        set: |args, _| {
            args.nat_in_containers = true;
            Ok(())
        },
    },
    Flag {
        name: "conntrack-events",
        value: "",
        help: "learn of translations from netlink, in a process that keeps CAP_NET_ADMIN, not from packets",
        set: |args, _| {
            args.conntrack_events = true;
            Ok(())
        },
    },
    Flag {
        name: "taskstats",
        value: "",
        help: "ask netlink for delays, in a process that keeps CAP_NET_ADMIN, not the tasks themselves",
        set: |args, _| {
            args.taskstats = true;
            Ok(())
        },
    },
    Flag {
        name: "check",
        value: "",
        help: "load and attach everything, print what works, and end",
        set: |args, _| {
            args.mode = Mode::Check;
            Ok(())
        },
    },
    Flag {
        name: "json",
        value: "",
        help: "print --check as JSON",
        set: |args, _| {
            args.json = true;
            Ok(())
        },
    },
    Flag {
        name: "help",
        value: "",
        help: "print this",
        set: |args, _| {
            args.mode = Mode::Help;
            Ok(())
        },
    },
    Flag {
        name: "version",
        value: "",
        help: "print the version",
        set: |args, _| {
            args.mode = Mode::Version;
            Ok(())
        },
    },
];

/// Reads the flags.
///
/// # Errors
/// A message about the first wrong one.
pub fn parse(mut parser: Parser) -> Result<Args, lexopt::Error> {
    let mut args = Args::default();
    while let Some(arg) = parser.next()? {
        let flag = match arg {
            Arg::Long(name) => FLAGS.iter().find(|flag| flag.name == name),
            Arg::Short('h') => FLAGS.iter().find(|flag| flag.name == "help"),
            Arg::Short('V') => FLAGS.iter().find(|flag| flag.name == "version"),
            Arg::Short(_) | Arg::Value(_) => None,
        };
        let flag = flag.ok_or_else(|| arg.unexpected())?;
        (flag.set)(&mut args, &mut parser).map_err(|error| format!("--{}: {error}", flag.name))?;
        if matches!(args.mode, Mode::Help | Mode::Version) {
            return Ok(args);
        }
    }
    Ok(args)
}

fn number(parser: &mut Parser, least: u64, most: u64) -> Result<u64, lexopt::Error> {
    let number: u64 = parser.value()?.parse()?;
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    Err(format!("must be {least} to {most}").into())
}

/// Entries of a kernel map.
fn entries(parser: &mut Parser) -> Result<u32, lexopt::Error> {
    let number = number(parser, 16, 1 << 22)?;
    u32::try_from(number).map_err(|error| error.to_string().into())
}

/// The text of `--help`.
pub fn help() -> String {
    let mut text = String::from(
        "nodescope-sensor: watches this node through BPF and serves what it sees on a Unix socket.\n\n\
         usage: nodescope-sensor [FLAGS]\n\n",
    );
    for flag in &FLAGS {
        let left = format!("--{} {}", flag.name, flag.value);
        text.push_str(&format!("  {left:<24} {}\n", flag.help));
    }
    text.push_str("\nexit status:\n");
    for (exit, meaning) in STATUSES {
        text.push_str(&format!("  {:<4} {meaning}\n", exit as u8));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Args, String> {
        parse(Parser::from_args(args)).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults() {
        assert_eq!(parsed(&[]), Ok(Args::default()));
    }

    #[test]
    fn sets_what_is_said() {
        let args = parsed(&[
            "--socket=/x/y",
            "--client-user",
            "me",
            "--poll-interval-ms",
            "250",
            "--host-root",
            "/host",
            "--record",
            "/tmp/r",
            "--record-limit-mib",
            "3",
            "--ping-interval-s",
            "0",
            "--max-flows",
            "100",
            "--max-listens",
            "101",
            "--max-processes",
            "102",
            "--max-cgroups",
            "103",
            "--flow-idle-s",
            "9",
        ]);
        let wanted = Args {
            socket: "/x/y".into(),
            client_user: "me".to_owned(),
            poll_interval: Duration::from_millis(250),
            host_root: "/host".into(),
            record: Some("/tmp/r".into()),
            record_limit_bytes: 3 << 20,
            ping_interval: Duration::ZERO,
            max_flows: Some(100),
            flow_idle: Some(Duration::from_secs(9)),
            max_listens: Some(101),
            max_processes: Some(102),
            max_cgroups: Some(103),
            ..Args::default()
        };
        assert_eq!(args, Ok(wanted));
        assert_eq!(
            parsed(&["--check", "--json"]).map(|args| (args.mode, args.json)),
            Ok((Mode::Check, true))
        );
        assert_eq!(
            parsed(&["-h", "--nonsense"]).map(|args| args.mode),
            Ok(Mode::Help)
        );
        assert_eq!(parsed(&["-V"]).map(|args| args.mode), Ok(Mode::Version));
    }

    #[test]
    fn refuses_what_is_wrong() {
        for args in [
            &["--nonsense"][..],
            &["-x"],
            &["word"],
            &["--socket"],
            &["--check=yes"],
            &["--poll-interval-ms", "99"],
            &["--poll-interval-ms", "60001"],
            &["--max-flows", "-1"],
            &["--max-flows", "99999999999"],
            &["--record-limit-mib", "0"],
            &["--ping-interval-s", "21"],
        ] {
            assert!(parsed(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn help_names_every_flag_and_status() {
        let help = help();
        for flag in &FLAGS {
            assert!(
                help.contains(&format!("  --{} {}", flag.name, flag.value)),
                "{}",
                flag.name
            );
            assert_eq!(FLAGS.iter().filter(|row| row.name == flag.name).count(), 1);
        }
        for (exit, _) in STATUSES {
            assert!(help.contains(&format!("\n  {} ", exit as u8)), "{exit:?}");
        }
        assert!(help.lines().all(|line| line.len() <= 120));
    }
}
