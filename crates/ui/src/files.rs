//! The page's files.

/// A file: its path, its type, and what is in it.
pub(crate) struct File {
    pub(crate) path: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) text: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! script {
    ($name:literal) => {
        File {
            path: concat!("/", $name),
            content_type: SCRIPT,
            text: include_str!(concat!("../page/", $name)),
        }
    };
}

/// All of them.
pub(crate) const FILES: &[File] = &[
    File { path: "/", content_type: "text/html; charset=utf-8", text: include_str!("../page/index.html") },
    File {
        path: "/page.css",
        content_type: "text/css; charset=utf-8",
        text: include_str!("../page/page.css"),
    },
    File { path: "/map.css", content_type: "text/css; charset=utf-8", text: include_str!("../page/map.css") },
    File { path: "/icon.svg", content_type: "image/svg+xml", text: include_str!("../page/icon.svg") },
    script!("app.js"),
    script!("ask.js"),
    script!("dom.js"),
    script!("edges.js"),
    script!("empty.js"),
    script!("filters.js"),
    script!("flows.js"),
    script!("format.js"),
    script!("inspect.js"),
    script!("layout.js"),
    script!("links.js"),
    script!("map.js"),
    script!("nodes.js"),
    script!("pod.js"),
    script!("state.js"),
    script!("trace.js"),
    script!("traffic.js"),
    script!("words.js"),
];

/// The file at a path.
pub(crate) fn file(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// How large they may be together, compressed.
    const LARGEST: usize = 150_000;

    #[test]
    fn the_page_is_small() {
        let compressed = FILES.iter().map(|file| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(file.text.as_bytes()).unwrap();
            encoder.finish().unwrap().len()
        });
        let bytes: usize = compressed.sum();
        assert!(bytes <= LARGEST, "{bytes} bytes");
    }

    #[test]
    fn every_file_is_served() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/page");
        let mut names: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| format!("/{}", entry.unwrap().file_name().into_string().unwrap()))
            .map(|path| if path == "/index.html" { "/".to_owned() } else { path })
            .collect();
        let mut served: Vec<&str> = FILES.iter().map(|file| file.path).collect();
        names.sort();
        served.sort_unstable();
        assert_eq!(served, names);
    }

    #[test]
    fn nothing_makes_markup_of_text() {
        for file in FILES {
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "http://",
                "https://",
            ] {
                let text = file.text.replace("http://www.w3.org/", "");
                assert!(!text.contains(word), "{} has {word}", file.path);
            }
        }
    }
}
