//! Settings: defaults, then the configuration file, then flags. Nothing is opened or bound here but that file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use crate::logs::LogSettings;
use crate::model::Settings;
use crate::model::filter::PortRanges;
use crate::model::logs::PatternSettings;
use crate::volumes::VolumeNames;

/// Read when it exists and no other is named.
pub const DEFAULT_FILE: &str = "/etc/nodescope/aggregator.toml";
/// Where the sensor listens by default.
pub const DEFAULT_SENSOR_SOCKET: &str = "/run/nodescope/sensor.sock";
/// Largest configuration file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// All settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where metrics are served.
    pub listen: SocketAddr,
    /// Where the sensor listens.
    pub sensor_socket: PathBuf,
    /// A recording to serve instead of a live sensor.
    pub replay: Option<PathBuf>,
    /// What the model shows.
    pub model: Settings,
    /// What is read of logs.
    pub logs: LogSettings,
    /// Where cgroups are mounted, when not where the mount table says.
    pub cgroupfs_root: Option<PathBuf>,
    /// How often cgroup files and node statistics are read.
    pub collect_interval: Duration,
    /// Socket of the docker API as a second source of names; root-equivalent, hence off by default.
    pub docker_socket: Option<PathBuf>,
    /// Socket of a CRI runtime as a second source of names; root-equivalent, hence off by default.
    pub cri_socket: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 10300)),
            sensor_socket: DEFAULT_SENSOR_SOCKET.into(),
            replay: None,
            model: Settings::default(),
            logs: LogSettings::default(),
            cgroupfs_root: None,
            collect_interval: Duration::from_secs(5),
            docker_socket: None,
            cri_socket: None,
        }
    }
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration file {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What failed.
        #[source]
        source: std::io::Error,
    },
    /// The file is longer than any honest one.
    #[error("configuration file {path}: longer than {MAX_FILE_BYTES} bytes")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The file is not TOML or has a key or value that is not known.
    #[error("configuration file {path}: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A value is not of the form its setting takes.
    #[error("{setting}: {reason}")]
    Value {
        /// The flag or key.
        setting: &'static str,
        /// Why.
        reason: String,
    },
}

impl ConfigError {
    /// For a value that `setting` does not take.
    pub fn value(setting: &'static str, reason: impl ToString) -> Self {
        Self::Value {
            setting,
            reason: reason.to_string(),
        }
    }
}

/// What a file or the flags say; what they leave out stays as it is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overrides {
    /// Where metrics are served.
    pub listen: Option<SocketAddr>,
    /// Where the sensor listens.
    pub sensor_socket: Option<PathBuf>,
    /// Show processes of no container or service.
    pub report_other: Option<bool>,
    /// Public networks that are tracked.
    pub track_public_networks: Option<Vec<IpNet>>,
    /// Ports that are not.
    pub ephemeral_port_range: Option<String>,
    /// Budget of destinations.
    pub max_destinations_per_container: Option<usize>,
    /// Budget of listening addresses.
    pub max_listens_per_container: Option<usize>,
    /// Budget of volumes.
    pub max_volumes_per_container: Option<usize>,
    /// Budget of Java virtual machines.
    pub max_jvms_per_container: Option<usize>,
    /// Budget of Java virtual machines in all.
    pub max_jvms: Option<usize>,
    /// Which name a Kubernetes volume is shown with.
    pub kubernetes_volume_names: Option<VolumeNames>,
    /// Budget of containers.
    pub max_containers: Option<usize>,
    /// Where cgroups are mounted.
    pub cgroupfs_root: Option<PathBuf>,
    /// Seconds between two readings of cgroup files and node statistics.
    pub collect_interval_seconds: Option<u64>,
    /// Socket of the docker API.
    pub docker_socket: Option<PathBuf>,
    /// Socket of a CRI runtime.
    pub cri_socket: Option<PathBuf>,
    /// Directory that keeps what must survive a restart.
    pub state_directory: Option<PathBuf>,
    /// Settings of the logs.
    pub logs: Option<LogOverrides>,
}

/// Section `[logs]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogOverrides {
    /// Read logs.
    pub enabled: Option<bool>,
    /// Read files that processes hold open too.
    pub files: Option<bool>,
    /// Read the journal too.
    pub journal: Option<bool>,
    /// Where the journal's files are.
    pub journal_directory: Option<PathBuf>,
    /// Show patterns of unknown, debug and info messages too.
    pub patterns_of_all_levels: Option<bool>,
    /// Mask secrets in samples.
    pub mask_samples: Option<bool>,
    /// Longest sample.
    pub max_sample_bytes: Option<usize>,
    /// Budget of patterns.
    pub max_patterns_per_container: Option<usize>,
    /// Budget of patterns.
    pub max_patterns: Option<usize>,
    /// Budget of bytes.
    pub max_bytes_per_second_per_container: Option<u64>,
    /// Budget of bytes.
    pub max_bytes_per_second: Option<u64>,
    /// Budget of open files.
    pub max_open_files: Option<usize>,
}

impl Config {
    /// Defaults with the file's settings: `named` must exist, [`DEFAULT_FILE`] need not.
    pub fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        let mut config = Self::default();
        match read(path) {
            Ok(text) => config.apply(parse(path, &text)?)?,
            Err(ConfigError::Read { source, .. })
                if named.is_none() && source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(config)
    }

    /// Takes over what `overrides` says.
    pub fn apply(&mut self, overrides: Overrides) -> Result<(), ConfigError> {
        let Overrides {
            listen,
            sensor_socket,
            report_other,
            track_public_networks,
            ephemeral_port_range,
            max_destinations_per_container,
            max_listens_per_container,
            max_volumes_per_container,
            max_jvms_per_container,
            max_jvms,
            kubernetes_volume_names,
            max_containers,
            cgroupfs_root,
            collect_interval_seconds,
            docker_socket,
            cri_socket,
            state_directory,
            logs,
        } = overrides;
        set(&mut self.listen, listen);
        set(&mut self.sensor_socket, sensor_socket);
        set(&mut self.model.report_other, report_other);
        set(
            &mut self.model.filter.public_networks,
            track_public_networks,
        );
        if let Some(text) = ephemeral_port_range {
            self.model.filter.skipped_ports = parse_ports(&text)?;
        }
        set(
            &mut self.model.destinations_per_container,
            max_destinations_per_container,
        );
        set(
            &mut self.model.listens_per_container,
            max_listens_per_container,
        );
        set(
            &mut self.model.volumes_per_container,
            max_volumes_per_container,
        );
        set(&mut self.model.jvms_per_container, max_jvms_per_container);
        set(&mut self.model.jvms, max_jvms);
        set(&mut self.model.volume_names, kubernetes_volume_names);
        set(&mut self.model.containers, max_containers);
        self.cgroupfs_root = cgroupfs_root.or(self.cgroupfs_root.take());
        if let Some(seconds) = collect_interval_seconds {
            self.collect_interval = parse_interval(seconds)?;
        }
        self.docker_socket = docker_socket.or(self.docker_socket.take());
        self.cri_socket = cri_socket.or(self.cri_socket.take());
        set(&mut self.logs.state_directory, state_directory);
        self.apply_logs(logs.unwrap_or_default())
    }

    fn apply_logs(&mut self, overrides: LogOverrides) -> Result<(), ConfigError> {
        let LogOverrides {
            enabled,
            files,
            journal,
            journal_directory,
            patterns_of_all_levels,
            mask_samples,
            max_sample_bytes,
            max_patterns_per_container,
            max_patterns,
            max_bytes_per_second_per_container,
            max_bytes_per_second,
            max_open_files,
        } = overrides;
        let logs = &mut self.logs;
        set(&mut logs.enabled, enabled);
        set(&mut logs.files, files);
        set(&mut logs.journal, journal);
        set(&mut logs.journal_directory, journal_directory.map(Some));
        set(&mut logs.patterns_of_all_levels, patterns_of_all_levels);
        set(&mut logs.mask_samples, mask_samples);
        set(&mut logs.sample_bytes, max_sample_bytes);
        set(&mut logs.patterns_per_container, max_patterns_per_container);
        set(&mut logs.patterns, max_patterns);
        set(
            &mut logs.bytes_per_second_per_container,
            max_bytes_per_second_per_container,
        );
        set(&mut logs.bytes_per_second, max_bytes_per_second);
        set(&mut logs.open_files, max_open_files);
        self.model.log_patterns = PatternSettings {
            of_all_levels: logs.patterns_of_all_levels,
            per_container: logs.patterns_per_container,
        };
        check_logs(logs)
    }
}

/// A budget so small that nothing would ever be read is a mistake: `enabled` is there for that.
fn check_logs(logs: &LogSettings) -> Result<(), ConfigError> {
    const LEAST_BYTES: u64 = 1 << 10;
    for (setting, bytes) in [
        (
            "logs.max_bytes_per_second_per_container",
            logs.bytes_per_second_per_container,
        ),
        ("logs.max_bytes_per_second", logs.bytes_per_second),
    ] {
        if bytes < LEAST_BYTES {
            let reason = format!("must be at least {LEAST_BYTES}");
            return Err(ConfigError::value(setting, reason));
        }
    }
    if logs.open_files == 0 {
        return Err(ConfigError::value(
            "logs.max_open_files",
            "must be at least 1",
        ));
    }
    Ok(())
}

fn set<T>(setting: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *setting = value;
    }
}

fn parse_ports(text: &str) -> Result<PortRanges, ConfigError> {
    text.parse()
        .map_err(|error| ConfigError::value("ephemeral_port_range", error))
}

fn parse_interval(seconds: u64) -> Result<Duration, ConfigError> {
    if (1..=3600).contains(&seconds) {
        return Ok(Duration::from_secs(seconds));
    }
    Err(ConfigError::value(
        "collect_interval_seconds",
        "must be from 1 to 3600",
    ))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    use std::io::Read as _;
    let fail = |source| ConfigError::Read {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(fail)?;
    let mut text = String::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(fail)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(ConfigError::TooLong {
            path: path.to_owned(),
        });
    }
    Ok(text)
}

fn parse(path: &Path, text: &str) -> Result<Overrides, ConfigError> {
    toml::from_str(text).map_err(|source| ConfigError::Parse {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(text: &str) -> Result<Overrides, ConfigError> {
        parse(Path::new("test.toml"), text)
    }

    #[test]
    fn file_settings_are_taken_over() {
        let mut config = Config::default();
        let text = "listen = '0.0.0.0:9999'\nreport_other = true\ntrack_public_networks = ['8.8.8.0/24']\n\
                    ephemeral_port_range = '40000-50000'\ncollect_interval_seconds = 15\nmax_containers = 7\n";
        config.apply(overrides(text).unwrap()).unwrap();
        assert_eq!(config.listen.port(), 9999);
        assert!(config.model.report_other);
        assert!(
            !config
                .model
                .filter
                .tracks_destination("9.9.9.9".parse().unwrap(), 80)
        );
        assert!(config.model.filter.tracks_port(32768) && !config.model.filter.tracks_port(40000));
        assert_eq!(
            (config.collect_interval.as_secs(), config.model.containers),
            (15, 7)
        );
        config.apply(Overrides::default()).unwrap();
        assert_eq!(config.listen.port(), 9999);
    }

    #[test]
    fn mistakes_are_named() {
        let unknown = overrides("listne = 'x'").unwrap_err().to_string();
        assert!(
            unknown.contains("test.toml") && unknown.contains("listne"),
            "{unknown}"
        );
        for text in [
            "ephemeral_port_range = 'x'",
            "collect_interval_seconds = 0",
            "logs.max_open_files = 0",
            "logs.max_bytes_per_second = 1000",
        ] {
            let error = Config::default()
                .apply(overrides(text).unwrap())
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with(text.split(' ').next().unwrap()),
                "{error}"
            );
        }
    }

    #[test]
    fn the_packaged_file_shows_every_setting_with_its_default() {
        let packaged = include_str!("../../packaging/aggregator.toml");
        let shown: String = packaged
            .lines()
            .filter_map(|line| line.strip_prefix('#'))
            .filter(|line| !line.starts_with(' '))
            .map(|line| format!("{line}\n"))
            .collect();
        let mut config = Config::default();
        config.apply(overrides(&shown).unwrap()).unwrap();
        // These have no default; the file shows the usual place.
        let usual = Config::default();
        config.cgroupfs_root = None;
        config.docker_socket = None;
        config.cri_socket = None;
        config.logs.journal_directory = None;
        assert_eq!(format!("{config:?}"), format!("{usual:?}"));
        assert_eq!(shown.lines().count(), 30, "a setting is missing in {shown}");
    }

    #[test]
    fn a_named_file_must_exist() {
        let error = Config::load(Some(Path::new("/nonexistent/aggregator.toml")))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nonexistent/aggregator.toml"), "{error}");
    }
}
