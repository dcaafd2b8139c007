//! Rust source as text: without comments, strings and tests.

/// The code of a file: comments are gone, and string and character literals are empty. Line breaks stay, so
/// that line numbers hold.
pub(crate) fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let len = literal_or_comment(rest, out.chars().next_back());
        if len > 0 {
            out.extend(rest[..len].chars().filter(|c| *c == '\n'));
            at += len;
        } else {
            let c = rest.chars().next().expect("not at the end");
            out.push(c);
            at += c.len_utf8();
        }
    }
    out
}

/// The bytes of the comment or literal that `rest` begins with; 0 if it begins with code.
fn literal_or_comment(rest: &str, before: Option<char>) -> usize {
    let end_after = |from: usize, ending: &str| {
        rest[from..].find(ending).map_or(rest.len(), |found| from + found + ending.len())
    };
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return end_after(2, "*/");
    }
    if rest.starts_with('"') {
        return quoted(rest, '"');
    }
    let in_name = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if !in_name && let Some(tail) = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r')) {
        let hashes = tail.len() - tail.trim_start_matches('#').len();
        if tail[hashes..].starts_with('"') {
            let opening = rest.len() - tail.len() + hashes + 1;
            return end_after(opening, &format!("\"{}", "#".repeat(hashes)));
        }
    }
    if rest.starts_with('\'') {
        // A character literal, unless it is a lifetime: `'a'` and `'\n'` against `'a`.
        let mut chars = rest.chars().skip(1);
        let first = chars.next();
        if first == Some('\\') || chars.next() == Some('\'') {
            return quoted(rest, '\'');
        }
    }
    0
}

/// The bytes of the literal that begins with `quote`, escapes considered.
fn quoted(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if c == quote && !is_escaped {
            return at + 1;
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    rest.len()
}

/// `code` without the modules that only tests compile, and the names of those that are files of their own.
pub(crate) fn without_tests(code: &str) -> (String, Vec<String>) {
    let mut out = String::new();
    let mut files = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        rest = &rest[at + "#[cfg(test)]".len()..];
        let item = rest.trim_start();
        let item = item.strip_prefix("pub(crate) ").unwrap_or(item);
        let Some(module) = item.strip_prefix("mod ") else { continue };
        let name: String = module.chars().take_while(|c| is_name(*c)).collect();
        let after = module[name.len()..].trim_start();
        if after.starts_with('{') {
            rest = &after[block(after)..];
        } else {
            files.push(name);
        }
    }
    out.push_str(rest);
    (out, files)
}

/// The bytes of the bracketed block that `text` begins with, brackets included.
pub(crate) fn block(text: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + c.len_utf8();
        }
    }
    text.len()
}

pub(crate) fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[test]
fn comments_and_literals_are_removed() {
    let text =
        "let a = \"// {\"; // x\nlet b = 'c'; /* y\n */ let d: &'a u8 = r#\"\"z\"#;\nlet e = '\\''; br\"f\"";
    assert_eq!(code(text), "let a = ; \nlet b = ; \n let d: &'a u8 = ;\nlet e = ; ");
}

#[test]
fn test_modules_are_removed() {
    let text =
        "a\n#[cfg(test)]\nmod tests { fn b() {} }\nc\n#[cfg(test)]\nmod more;\n#[cfg(test)]\nfn d() {}";
    let (rest, files) = without_tests(text);
    assert!(!rest.contains("fn b") && rest.contains('c') && rest.contains("fn d"), "{rest}");
    assert_eq!(files, ["more"]);
}
