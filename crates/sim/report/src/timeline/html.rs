//! One self-contained page: the viewer and a film, in one file that needs no network.

use crate::timeline::Film;

const PAGE: &str = include_str!("../../viewer/page.html");
const STYLE: &str = include_str!("../../viewer/page.css");
const SCRIPTS: [&str; 4] = [
    include_str!("../../viewer/model.js"),
    include_str!("../../viewer/draw.js"),
    include_str!("../../viewer/panel.js"),
    include_str!("../../viewer/main.js"),
];

impl Film {
    /// The film in a page of HTML that any browser shows, from a file, without a network.
    ///
    /// # Errors
    ///
    /// If the film cannot be written as JSON.
    pub fn page(&self) -> Result<String, serde_json::Error> {
        // Inside a script element only "<" can end it or begin a comment.
        let film = serde_json::to_string(self)?.replace('<', "\\u003c");
        let parts = [
            ("/*TITLE*/", escaped(&self.title)),
            ("/*STYLE*/", STYLE.to_owned()),
            ("/*FILM*/", film),
            ("/*SCRIPT*/", SCRIPTS.join("\n")),
        ];
        let mut page =
            String::with_capacity(PAGE.len() + parts.iter().map(|(_, part)| part.len()).sum::<usize>());
        let mut rest = PAGE;
        for (mark, part) in parts {
            let (before, after) = rest.split_once(mark).unwrap_or((rest, ""));
            page.push_str(before);
            page.push_str(&part);
            rest = after;
        }
        page.push_str(rest);
        Ok(page)
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
