//! The page in the older text format of Prometheus (0.0.4), for programs that ask for `text/plain`: they know neither units
//! nor the type `info`, and a counter's name there is that of its samples.

/// The content type of OpenMetrics, which the page is made in.
pub(super) const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The content type of the older format.
pub(super) const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether somebody who accepts these media types wants the older format: they name it, and not OpenMetrics.
pub(super) fn is_wanted(accept: &str) -> bool {
    let mut names = accept.split(',').filter_map(|range| range.split(';').next()).map(str::trim);
    let names_text = names.clone().any(|name| name.eq_ignore_ascii_case("text/plain"));
    names_text && !names.any(|name| name.eq_ignore_ascii_case("application/openmetrics-text"))
}

/// The same page in the older format.
pub(super) fn from_openmetrics(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut help = None; // comes before the type, which decides the name
    for line in page.lines() {
        match line.strip_prefix("# ").map(|comment| comment.splitn(3, ' ').collect::<Vec<_>>()).as_deref() {
            Some(["HELP", name, words]) => help = Some((name.to_owned(), words.to_owned())),
            Some(["TYPE", name, kind]) => {
                let (suffix, kind) = match *kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    other => ("", other),
                };
                if let Some((_, words)) = help.take().filter(|(of, _)| of == name) {
                    text.extend(["# HELP ", name, suffix, " ", words, "\n"]);
                }
                text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
            }
            Some(_) => {} // a unit, or the end
            None => text.extend([line, "\n"]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_counters_and_infos_are_those_of_their_samples() {
        let page = "# HELP a_build What runs.\n# TYPE a_build info\na_build_info{version=\"1\"} 1\n\
            # HELP a_seconds How # long.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total 2.5\n\
            # HELP a_ready Is it.\n# TYPE a_ready gauge\na_ready 1\n\
            # TYPE a_took histogram\na_took_sum 0.0\na_took_count 0\na_took_bucket{le=\"+Inf\"} 0\n# EOF\n";
        let want = "# HELP a_build_info What runs.\n# TYPE a_build_info gauge\na_build_info{version=\"1\"} 1\n\
            # HELP a_seconds_total How # long.\n# TYPE a_seconds_total counter\na_seconds_total 2.5\n\
            # HELP a_ready Is it.\n# TYPE a_ready gauge\na_ready 1\n\
            # TYPE a_took histogram\na_took_sum 0.0\na_took_count 0\na_took_bucket{le=\"+Inf\"} 0\n";
        assert_eq!(from_openmetrics(page), want);
        assert_eq!(from_openmetrics(""), "");
        assert_eq!(from_openmetrics("# HELP\n# TYPE a\n#\n"), "#\n");
    }

    #[test]
    fn who_knows_openmetrics_gets_it() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, want) in [
            ("", false),
            ("*/*", false),
            ("text/html, */*;q=0.8", false),
            (prometheus, false),
            ("text/plain", true),
            ("text/plain;version=0.0.4", true),
            ("application/json, Text/Plain; q=0.5", true),
            (",;,", false),
        ] {
            assert_eq!(is_wanted(accept), want, "{accept}");
        }
    }
}
