//! The attribute macro `#[sync_sim::test]`. The crate `sync-sim` re-exports and documents it; depend on that.

use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

/// Makes a function a simulation test, which runs once for each of many seeds.
///
/// The attribute is `#[sync_sim::test]` or, with settings,
/// `#[sync_sim::test(seeds = 200, faults = "heavy", nodes = 3)]`, on a `fn name(rt: &mut SimRuntime)`:
///
/// - `seeds`: the number of seeds, counted from 0, or a range of seeds. The default is 100.
/// - `faults`: `"none"`, `"light"`, `"heavy"`, `"partitions"`, or a `FaultConfig`. The default is a network
///   with latency and without faults.
/// - `nodes`: the number of empty nodes at the start of the function. The default is 0: the function
///   adds the nodes.
///
/// `sync_sim::SeedTest::run` documents the report of a failing seed.
#[proc_macro_attribute]
pub fn test(settings: TokenStream, function: TokenStream) -> TokenStream {
    expand(settings, function).unwrap_or_else(|(span, problem)| {
        // Built token by token: parsed text would have the span of the attribute, and the compiler's
        // message must point to the token that is wrong.
        let call: [TokenTree; 4] = [
            Ident::new("compile_error", span).into(),
            punct('!', span),
            Group::new(Delimiter::Parenthesis, TokenTree::from(Literal::string(&problem)).into()).into(),
            punct(';', span),
        ];
        call.into_iter().map(|mut token| (token.set_span(span), token).1).collect()
    })
}

/// An error at a place in the source: the place, and the text for the compiler's message.
type Problem = (Span, String);

/// The token `sign` at `span`.
fn punct(sign: char, span: Span) -> TokenTree {
    let mut punct = Punct::new(sign, Spacing::Alone);
    punct.set_span(span);
    punct.into()
}

/// Whether `token` is the punctuation `sign`.
fn is(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

/// Parses `text`, which this file generates, into tokens.
fn tokens(text: &str) -> Result<TokenStream, Problem> {
    text.parse().map_err(|error| (Span::call_site(), format!("{error}")))
}

/// Expands to a test function of the same name that contains `function` and runs it with a `SeedTest`.
fn expand(settings: TokenStream, function: TokenStream) -> Result<TokenStream, Problem> {
    // Attributes such as `#[ignore]` and `#[should_panic]` belong to the outer function, which is the test.
    let mut rest = function.into_iter().peekable();
    let mut attributes = TokenStream::new();
    while let Some(sign) = rest.next_if(|token| is(token, '#')) {
        attributes.extend([sign].into_iter().chain(rest.next()));
    }
    let body: Vec<TokenTree> = rest.collect();
    let name = name(&body)?.clone();
    // The crate name, the module and the function are those of the test, so that a failure can print
    // the command that repeats it.
    let path = format!("env!(\"CARGO_PKG_NAME\"), concat!(module_path!(), \"::{name}\")");
    let mut block = body.into_iter().collect::<TokenStream>();
    block.extend(tokens(&format!("::sync_sim::SeedTest::new({path})"))?);
    for (method, value) in calls(settings)? {
        block.extend(tokens(&format!(".{method}"))?);
        block.extend([TokenTree::from(Group::new(Delimiter::Parenthesis, value))]);
    }
    block.extend(tokens(&format!(".run({name})"))?);
    attributes.extend(tokens(&format!("#[::core::prelude::v1::test] fn {name}()"))?);
    attributes.extend([TokenTree::from(Group::new(Delimiter::Brace, block))]);
    Ok(attributes)
}

/// The name of the function, which must have a parameter and must not be async.
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

/// For each setting the method of `SeedTest` that applies it, and the argument.
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
        // A string is the name of a preset; any other expression is a `FaultConfig`.
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
