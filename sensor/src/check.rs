//! `--check`: what works on this node, as a table or as JSON.

use std::fmt::Write;
use std::path::Path;

use nodescope_schema::{Hook, Record, Verdict};

use crate::host::Node;

/// What `--check` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Facts about the node: name and value.
    pub facts: Vec<(&'static str, String)>,
    /// One row a hook.
    pub hooks: Vec<Row>,
}

/// A hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    name: String,
    rung: String,
    verdict: Verdict,
    detail: String,
}

impl Report {
    /// A report on this node, still without its hooks.
    pub fn new(node: &Node, tree: &Path) -> Self {
        Self {
            facts: facts(node, tree),
            hooks: Vec::new(),
        }
    }

    /// Adds what a record says, if that is about a hook.
    pub fn add(&mut self, record: &Record<'_>) {
        if let Record::Hook(hook) = record {
            self.hooks.push(Row::from(hook));
        }
    }

    /// Whether every hook works as well as this kernel allows.
    pub fn is_good(&self) -> bool {
        self.hooks.iter().all(|row| row.verdict != Verdict::Failed)
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.facts {
            line(&mut text, format_args!("{name:<14} {value}"));
        }
        line(&mut text, format_args!(""));
        let width = |column: fn(&Row) -> &str| {
            self.hooks
                .iter()
                .map(|row| column(row).len())
                .max()
                .unwrap_or(0)
        };
        let (names, rungs) = (width(|row| &row.name), width(|row| &row.rung));
        for row in &self.hooks {
            let Row {
                name,
                rung,
                verdict,
                detail,
            } = row;
            let rung = if rung.is_empty() { "-" } else { rung };
            let verdict = verdict.as_str();
            let row = format!("{name:<names$}  {verdict:<11}  {rung:<rungs$}  {detail}");
            line(&mut text, format_args!("{}", row.trim_end()));
        }
        text
    }

    /// For programs: one object.
    pub fn json(&self) -> String {
        let facts = self
            .facts
            .iter()
            .map(|(name, value)| format!("{}:{}", quoted(name), quoted(value)));
        let hooks = self.hooks.iter().map(|row| {
            format!(
                "{{\"name\":{},\"verdict\":{},\"rung\":{},\"detail\":{}}}",
                quoted(&row.name),
                quoted(row.verdict.as_str()),
                quoted(&row.rung),
                quoted(&row.detail),
            )
        });
        let (facts, hooks): (Vec<_>, Vec<_>) = (facts.collect(), hooks.collect());
        let good = self.is_good();
        format!(
            "{{\"good\":{good},\"node\":{{{}}},\"hooks\":[{}]}}\n",
            facts.join(","),
            hooks.join(",")
        )
    }
}

impl From<&Hook<'_>> for Row {
    fn from(hook: &Hook<'_>) -> Self {
        Self {
            name: hook.name.to_owned(),
            rung: hook.rung.to_owned(),
            verdict: hook.verdict,
            detail: hook.detail.to_owned(),
        }
    }
}

fn facts(node: &Node, cgroup_v2: &Path) -> Vec<(&'static str, String)> {
    let btf = Path::new("/sys/kernel/btf/vmlinux").exists();
    let capabilities = caps::read(None, caps::CapSet::Effective).unwrap_or_default();
    let used = crate::privilege::CAPABILITIES
        .iter()
        .map(|need| need.capability);
    let missing = used
        .filter(|used| !capabilities.contains(used))
        .map(|used| used.to_string());
    let missing: Vec<String> = missing.collect();
    let own_mount = cgroup_v2.starts_with("/proc/self/fd");
    vec![
        ("sensor", env!("CARGO_PKG_VERSION").to_owned()),
        ("kernel", node.kernel_release.clone()),
        ("btf", if btf { "yes" } else { "no" }.to_owned()),
        (
            "cgroup_v2",
            if own_mount {
                "own mount".to_owned()
            } else {
                cgroup_v2.display().to_string()
            },
        ),
        (
            "missing_caps",
            if missing.is_empty() {
                "none".to_owned()
            } else {
                missing.join(" ")
            },
        ),
    ]
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{line}");
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            char if char.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(char));
            }
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdict: Verdict) -> Report {
        let row = |name: &str, verdict| Row {
            name: name.to_owned(),
            rung: String::new(),
            verdict,
            detail: "say \"no\"\n\\".to_owned(),
        };
        let hooks = vec![row("tcp_state", Verdict::Ok), row("x", verdict)];
        Report {
            facts: vec![("kernel", "6.1".to_owned())],
            hooks,
        }
    }

    #[test]
    fn only_failed_is_bad() {
        for verdict in Verdict::ALL {
            assert_eq!(report(verdict).is_good(), verdict != Verdict::Failed);
        }
    }

    #[test]
    fn json_is_escaped() {
        let wanted = "{\"good\":false,\"node\":{\"kernel\":\"6.1\"},\"hooks\":[\
            {\"name\":\"tcp_state\",\"verdict\":\"ok\",\"rung\":\"\",\"detail\":\"say \\\"no\\\"\\u000a\\\\\"},\
            {\"name\":\"x\",\"verdict\":\"failed\",\"rung\":\"\",\"detail\":\"say \\\"no\\\"\\u000a\\\\\"}]}\n";
        assert_eq!(report(Verdict::Failed).json(), wanted);
    }

    #[test]
    fn the_table_has_a_row_each() {
        let table = report(Verdict::Unsupported).table();
        assert!(
            table.starts_with("kernel         6.1\n\ntcp_state  ok           -"),
            "{table}"
        );
        assert!(table.contains("\nx          unsupported  -"), "{table}");
    }
}
