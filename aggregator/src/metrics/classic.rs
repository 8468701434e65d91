//! Turns the page that `prometheus-client` writes (OpenMetrics) into the text format 0.0.4.
//!
//! Only what the two formats say differently is changed: a counter's family is called like its samples (`_total`), the types
//! `unknown` and `info` are `untyped` and `gauge`, help has no escaped quotes, and `# UNIT` and `# EOF` do not exist.
//! Samples are the same in both as long as they carry no exemplar and no timestamp; the own metrics carry neither.

/// The page `openmetrics` in the text format.
pub(super) fn convert(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let out = &mut text;
    let mut help: Option<(&str, &str)> = None;
    for line in openmetrics.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            put(out, &[line, "\n"]);
            continue;
        };
        match comment.split_once(' ') {
            Some(("HELP", rest)) => help = rest.split_once(' '),
            Some(("TYPE", rest)) => {
                if let Some((name, kind)) = rest.split_once(' ') {
                    write_header(name, kind, help.take(), out);
                }
            }
            _ => {}
        }
    }
    text
}

fn write_header(name: &str, kind: &str, help: Option<(&str, &str)>, out: &mut String) {
    let (suffix, kind) = match kind {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        "unknown" => ("", "untyped"),
        same => ("", same),
    };
    if let Some((_, text)) = help.filter(|(family, _)| *family == name) {
        put(
            out,
            &[
                "# HELP ",
                name,
                suffix,
                " ",
                &text.replace("\\\"", "\""),
                "\n",
            ],
        );
    }
    put(out, &["# TYPE ", name, suffix, " ", kind, "\n"]);
}

fn put(out: &mut String, pieces: &[&str]) {
    for piece in pieces {
        out.push_str(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::convert;

    #[test]
    fn changes_what_differs_and_nothing_else() {
        let openmetrics = "# HELP a Some \\\"help\\\".\n# TYPE a counter\n# UNIT a seconds\na_total{x=\"# TYPE b counter\"} 1\n\
                           # HELP b B.\n# TYPE b gauge\nb 2.5\n# TYPE c info\nc_info{v=\"1\"} 1\n# TYPE d unknown\nd 4\n\
                           # HELP e E.\n# TYPE e histogram\ne_sum 1.0\ne_count 1\ne_bucket{le=\"+Inf\"} 1\n# EOF\n";
        let text = "# HELP a_total Some \"help\".\n# TYPE a_total counter\na_total{x=\"# TYPE b counter\"} 1\n\
                    # HELP b B.\n# TYPE b gauge\nb 2.5\n# TYPE c_info gauge\nc_info{v=\"1\"} 1\n# TYPE d untyped\nd 4\n\
                    # HELP e E.\n# TYPE e histogram\ne_sum 1.0\ne_count 1\ne_bucket{le=\"+Inf\"} 1\n";
        assert_eq!(convert(openmetrics), text);
    }
}
