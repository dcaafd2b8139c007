//! The flags of the commands about stores on disk: `verify` and `inspect`.

use clap::Args;
use std::path::PathBuf;

/// The flags of `verify`.
#[derive(Args, Clone, Debug)]
pub(crate) struct VerifyArgs {
    /// The folder of the store.
    pub(crate) path: PathBuf,

    /// Print the result as JSON, and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

/// The flags of `inspect`.
#[derive(Args, Clone, Debug)]
pub(crate) struct InspectArgs {
    /// The folder of the store.
    pub(crate) path: PathBuf,

    /// The entity to show, by the first hexadecimal digits of its id; the root by default.
    #[arg(value_parser = id_prefix)]
    pub(crate) entity: Option<String>,

    /// How many levels below the entity to show.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=64))]
    pub(crate) depth: u32,

    /// The largest number of children to show for one entity.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,

    /// Print the result as JSON, and nothing else.
    #[arg(long)]
    pub(crate) json: bool,
}

fn id_prefix(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err("an id is up to 64 hexadecimal digits".into());
    }
    Ok(text.to_ascii_lowercase())
}
