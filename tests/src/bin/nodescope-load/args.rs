//! `--name value` pairs, each name as often as wanted.

use std::net::SocketAddr;
use std::str::FromStr;

pub(crate) struct Args(Vec<(String, String)>);

impl Args {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut pairs = Vec::new();
        while let Some(name) = arguments.next() {
            let name = name
                .strip_prefix("--")
                .ok_or_else(|| format!("'{name}' is not an option"))?;
            let value = arguments
                .next()
                .ok_or_else(|| format!("--{name} wants a value"))?;
            pairs.push((name.to_owned(), value));
        }
        Ok(Self(pairs))
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    pub(crate) fn get<T: FromStr>(&self, name: &str) -> Result<Option<T>, String> {
        let parse = |value: &str| {
            value
                .parse()
                .map_err(|_| format!("--{name} {value}: not a valid value"))
        };
        self.all(name).last().map(parse).transpose()
    }

    pub(crate) fn need<T: FromStr>(&self, name: &str) -> Result<T, String> {
        self.get(name)?.ok_or_else(|| format!("--{name} is needed"))
    }

    pub(crate) fn addresses(&self, name: &str) -> Result<Vec<SocketAddr>, String> {
        self.all(name)
            .map(|value| {
                value
                    .parse()
                    .map_err(|_| format!("--{name} {value}: not ADDR:PORT"))
            })
            .collect()
    }
}
