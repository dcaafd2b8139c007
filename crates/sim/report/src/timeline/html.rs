//! One self-contained HTML page: the viewer and a timeline, in one file that works without a network.

use crate::timeline::Timeline;

const PAGE: &str = include_str!("../../viewer/page.html");
const STYLE: &str = include_str!("../../viewer/page.css");
const SCRIPTS: [&str; 4] = [
    include_str!("../../viewer/model.js"),
    include_str!("../../viewer/draw.js"),
    include_str!("../../viewer/panel.js"),
    include_str!("../../viewer/main.js"),
];

impl Timeline {
    /// The timeline as an HTML page that any browser shows from a file, without a network.
    ///
    /// # Errors
    ///
    /// If the timeline cannot be written as JSON.
    pub fn page(&self) -> Result<String, serde_json::Error> {
        // Inside a `script` element, only `<` can end the element or begin a comment. The escape keeps text
        // of the run, such as names and values, from being read as markup.
        let json = serde_json::to_string(self)?.replace('<', "\\u003c");
        let parts = [
            ("/*TITLE*/", escaped(&self.title)),
            ("/*STYLE*/", STYLE.to_owned()),
            ("/*TIMELINE*/", json),
            ("/*SCRIPT*/", SCRIPTS.join("\n")),
        ];
        let mut page =
            String::with_capacity(PAGE.len() + parts.iter().map(|(_, part)| part.len()).sum::<usize>());
        let mut rest = PAGE;
        for (mark, part) in parts {
            let (before, after) = rest.split_once(mark).expect("the page has every mark, in this order");
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
