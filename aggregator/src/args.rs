//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::ValueExt as _;

use crate::config::{Config, ConfigError, DEFAULT_FILE, DEFAULT_SENSOR_SOCKET, Overrides};

/// Text of `--help`.
pub fn help() -> String {
    format!(
        "nodescope-aggregator {release}: turns what nodescope-sensor tells into Prometheus metrics. Needs no rights.

Usage: nodescope-aggregator [OPTIONS]

  --listen ADDR:PORT            where metrics are served [127.0.0.1:10300]
  --sensor-socket PATH          where the sensor listens [{DEFAULT_SENSOR_SOCKET}]
  --config FILE                 settings in TOML [{DEFAULT_FILE}, if it exists]
  --replay FILE                 serve what this recording of a sensor says instead of a live one
  --report-other                show processes of no container or service as /other/EXECUTABLE
  --track-public-network CIDR   public network whose addresses are tracked; may be repeated
                                [0.0.0.0/0 and ::/0]; 'none' tracks private addresses only
  --ephemeral-port-range LIST   ports that are not shown [32768-60999]; 50051 always is
  --cgroupfs-root DIR           where cgroups are mounted [as the mount table says]
  --no-logs                     do not read logs
  --state-directory DIR         keeps how far logs were read [/var/lib/nodescope]
  --docker-socket PATH          also ask the docker API for names (the socket is root-equivalent) [off]
  --cri-socket PATH             also ask a CRI runtime for names (the socket is root-equivalent) [off]
  --help, --version

The configuration file has the same settings with underscores (report_other = true), and
max_destinations_per_container, max_listens_per_container, max_volumes_per_container, max_jvms_per_container,
max_jvms, max_containers, kubernetes_volume_names, collect_interval_seconds, and a section [logs].
The environment variable NODESCOPE_LOG sets the log level (error, warn, info, debug) [info].

Exit codes: 0 ended by a signal, 64 wrong usage or configuration, 70 internal error,
            73 the listen address is taken or not ours.
",
        release = crate::RELEASE
    )
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Command {
    /// Print the help.
    Help,
    /// Print the release.
    Version,
    /// Run.
    Run(Box<Config>),
}

/// A command line that cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum ArgsError {
    /// An option that is unknown or lacks its value.
    #[error(transparent)]
    Usage(#[from] lexopt::Error),
    /// A setting that cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Reads the command line and the configuration file.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command, ArgsError> {
    use lexopt::Arg::Long;
    let mut parser = lexopt::Parser::from_args(args);
    let mut flags = Overrides::default();
    let (mut file, mut recording) = (None, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("help") => return Ok(Command::Help),
            Long("version") => return Ok(Command::Version),
            Long("listen") => flags.listen = Some(parser.value()?.parse()?),
            Long("sensor-socket") => flags.sensor_socket = Some(PathBuf::from(parser.value()?)),
            Long("config") => file = Some(PathBuf::from(parser.value()?)),
            Long("replay") => recording = Some(PathBuf::from(parser.value()?)),
            Long("report-other") => flags.report_other = Some(true),
            Long("track-public-network") => {
                let networks = flags.track_public_networks.get_or_insert_default();
                let value = parser.value()?;
                if value != "none" {
                    networks.push(value.parse()?);
                }
            }
            Long("ephemeral-port-range") => {
                flags.ephemeral_port_range = Some(parser.value()?.string()?)
            }
            Long("cgroupfs-root") => flags.cgroupfs_root = Some(PathBuf::from(parser.value()?)),
            Long("no-logs") => flags.logs.get_or_insert_default().enabled = Some(false),
            Long("state-directory") => {
                flags.state_directory = Some(PathBuf::from(parser.value()?));
            }
            Long("docker-socket") => flags.docker_socket = Some(PathBuf::from(parser.value()?)),
            Long("cri-socket") => flags.cri_socket = Some(PathBuf::from(parser.value()?)),
            other => return Err(other.unexpected().into()),
        }
    }
    let mut config = Config::load(file.as_deref())?;
    config.apply(flags)?;
    config.replay = recording;
    Ok(Command::Run(Box::new(config)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn run(args: &[&str]) -> Result<Config, String> {
        match parse(args.iter().map(OsString::from)) {
            Ok(Command::Run(config)) => Ok(*config),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn flags() {
        let config = run(&[
            "--listen",
            "127.0.0.1:1",
            "--report-other",
            "--track-public-network",
            "none",
            "--no-logs",
            "--state-directory=/x",
        ])
        .unwrap();
        assert!(!config.logs.enabled);
        assert_eq!(config.logs.state_directory, Path::new("/x"));
        assert_eq!(config.listen.port(), 1);
        assert!(config.model.report_other && config.model.filter.public_networks.is_empty());
        let config = run(&[
            "--track-public-network=8.0.0.0/8",
            "--track-public-network=9.0.0.0/8",
        ])
        .unwrap();
        assert_eq!(config.model.filter.public_networks.len(), 2);
    }

    #[test]
    fn mistakes_are_named() {
        for (args, part) in [
            (&["--listne"][..], "--listne"),
            (&["--listen"], "--listen"),
            (&["--listen", "x"], "x"),
            (&["stray"], "stray"),
            (&["--track-public-network", "1.2.3.4/99"], "1.2.3.4/99"),
        ] {
            let error = run(args).unwrap_err();
            assert!(error.contains(part), "{args:?}: {error}");
        }
    }

    #[test]
    fn help_names_every_flag_and_code() {
        let help = help();
        for word in [
            "--listen",
            "--sensor-socket",
            "--replay",
            "--report-other",
            "--config",
            "64",
            "73",
        ] {
            assert!(help.contains(word), "{word}");
        }
    }
}
