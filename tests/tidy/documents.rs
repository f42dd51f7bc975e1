//! Pages: what they show and where they point to is there.

use super::{
    none,
    source::{Source, files, root},
};

#[test]
fn links_in_pages_lead_somewhere() {
    let mut broken = Vec::new();
    for page in files("md") {
        let folder = root().join(&page.path).parent().unwrap().to_owned();
        for link in links(&page.text) {
            let file = link.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains(':') && !folder.join(file).exists() {
                broken.push(format!("{}: {link} is not there", page.path));
            }
        }
    }
    none(broken);
}

// The Rust code in it is compiled as a documentation test of the library.
#[test]
fn the_readme_shows_an_example_in_c_as_it_is() {
    let readme = page("README.md");
    let example = std::fs::read_to_string(root().join("examples/c/hello.c")).unwrap();
    let shown: Vec<&str> = blocks(&readme.text, "c").collect();
    assert!(!shown.is_empty(), "README.md shows no application in C");
    none(
        shown
            .iter()
            .filter(|block| !example.contains(**block))
            .map(|block| format!("not in hello.c:\n{block}")),
    );
}

#[test]
fn every_decision_is_listed_and_says_why() {
    let listed = page("docs/decisions/README.md").text;
    for page in files("md").iter().filter(|page| page.path.starts_with("docs/decisions/0")) {
        let name = page.path.rsplit('/').next().unwrap();
        assert!(listed.contains(&format!("]({name})")), "docs/decisions/README.md does not list {name}");
        for section in ["## Why", "## What it costs"] {
            assert!(page.text.contains(section), "{}: has no `{section}`", page.path);
        }
    }
}

fn page(path: &str) -> Source {
    files("md").into_iter().find(|page| page.path == path).unwrap_or_else(|| panic!("{path} is not there"))
}

/// What stands in parentheses after a `]`, outside of code.
fn links(text: &str) -> Vec<&str> {
    let mut links = Vec::new();
    let mut code = false;
    for line in text.lines() {
        code ^= line.trim_start().starts_with("```");
        if !code {
            links.extend(line.split("](").skip(1).filter_map(|rest| rest.split(')').next()));
        }
    }
    links
}

/// The blocks of code in `language`.
fn blocks<'a>(text: &'a str, language: &str) -> impl Iterator<Item = &'a str> {
    let start = format!("\n```{language}\n");
    let blocks = text.split(&start).skip(1).collect::<Vec<_>>().into_iter();
    blocks.filter_map(|rest| rest.split("\n```").next())
}
