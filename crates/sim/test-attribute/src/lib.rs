//! The attribute `#[sync_sim::test]`; use it through `sync-sim`, where it is described.

use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

/// Makes a function a test that is run with many seeds.
///
/// `#[sync_sim::test]` or `#[sync_sim::test(seeds = 200, faults = "heavy", nodes = 3)]`, on a
/// `fn name(rt: &mut SimRuntime)`:
///
/// - `seeds`: so many, from 0, or a range; 100 if not given.
/// - `faults`: `"none"`, `"light"`, `"heavy"`, `"partitions"`, or a `FaultConfig`; a network with distance
///   and no faults if not given.
/// - `nodes`: how many empty nodes there are when the function begins; it can add them itself.
///
/// What happens when a seed fails is said at `sync_sim::Trial::run`.
#[proc_macro_attribute]
pub fn test(settings: TokenStream, function: TokenStream) -> TokenStream {
    expand(settings, function).unwrap_or_else(|(span, problem)| {
        let call: [TokenTree; 4] = [
            Ident::new("compile_error", span).into(),
            punct('!', span),
            Group::new(Delimiter::Parenthesis, TokenTree::from(Literal::string(&problem)).into()).into(),
            punct(';', span),
        ];
        call.into_iter().map(|mut token| (token.set_span(span), token).1).collect()
    })
}

/// Where something is wrong, and what.
type Problem = (Span, String);

fn punct(sign: char, span: Span) -> TokenTree {
    let mut punct = Punct::new(sign, Spacing::Alone);
    punct.set_span(span);
    punct.into()
}

fn is(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

/// Text of this file as tokens.
fn tokens(text: &str) -> Result<TokenStream, Problem> {
    text.parse().map_err(|error| (Span::call_site(), format!("{error}")))
}

fn expand(settings: TokenStream, function: TokenStream) -> Result<TokenStream, Problem> {
    // What is said of the test (that it is ignored, that it should panic) is the test's, not the body's.
    let mut rest = function.into_iter().peekable();
    let mut attributes = TokenStream::new();
    while let Some(sign) = rest.next_if(|token| is(token, '#')) {
        attributes.extend([sign].into_iter().chain(rest.next()));
    }
    let body: Vec<TokenTree> = rest.collect();
    let name = name(&body)?.clone();
    let path = format!("env!(\"CARGO_PKG_NAME\"), concat!(module_path!(), \"::{name}\")");
    let mut block = body.into_iter().collect::<TokenStream>();
    block.extend(tokens(&format!("::sync_sim::Trial::new({path})"))?);
    for (method, value) in calls(settings)? {
        block.extend(tokens(&format!(".{method}"))?);
        block.extend([TokenTree::from(Group::new(Delimiter::Parenthesis, value))]);
    }
    block.extend(tokens(&format!(".run({name})"))?);
    attributes.extend(tokens(&format!("#[::core::prelude::v1::test] fn {name}()"))?);
    attributes.extend([TokenTree::from(Group::new(Delimiter::Brace, block))]);
    Ok(attributes)
}

/// The name of the function, which must take something.
fn name(body: &[TokenTree]) -> Result<&TokenTree, Problem> {
    let word =
        |token: &TokenTree, word: &str| matches!(token, TokenTree::Ident(ident) if ident.to_string() == word);
    let problem = "#[sync_sim::test] goes with `fn name(rt: &mut SimRuntime)`";
    let wrong =
        |token: Option<&TokenTree>| (token.map_or_else(Span::call_site, TokenTree::span), problem.to_owned());
    let at = body.iter().position(|token| word(token, "fn")).ok_or_else(|| wrong(body.first()))?;
    if let Some(token) = body.iter().take(at).find(|token| word(token, "async")) {
        return Err(wrong(Some(token)));
    }
    let name = body.get(at + 1).ok_or_else(|| wrong(body.get(at)))?;
    match body.get(at + 2) {
        Some(TokenTree::Group(takes)) if !takes.stream().is_empty() => Ok(name),
        other => Err(wrong(other)),
    }
}

/// What is called on a trial for each setting, and with what.
fn calls(settings: TokenStream) -> Result<Vec<(&'static str, TokenStream)>, Problem> {
    let mut calls = Vec::new();
    let settings: Vec<TokenTree> = settings.into_iter().collect();
    for setting in settings.split(|token| is(token, ',')).filter(|setting| !setting.is_empty()) {
        let [TokenTree::Ident(name), sign, value @ ..] = setting else {
            return Err((setting[0].span(), "a setting looks like `seeds = 200`".into()));
        };
        if !is(sign, '=') || value.is_empty() {
            return Err((name.span(), format!("a setting looks like `{name} = …`")));
        }
        let text = matches!(value, [TokenTree::Literal(text)] if text.to_string().starts_with('"'));
        let method = match name.to_string().as_str() {
            "seeds" => "seeds",
            "faults" if text => "preset",
            "faults" => "faults",
            "nodes" => "nodes",
            other => {
                return Err((
                    name.span(),
                    format!("unknown setting `{other}`; there are `seeds`, `faults` and `nodes`"),
                ));
            }
        };
        calls.push((method, value.iter().cloned().collect()));
    }
    Ok(calls)
}
