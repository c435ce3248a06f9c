//! The kernel API's reference text, for prompts: every public item's signature and documentation, taken from the
//! sources, so that it can't say anything else than they do.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ImplItem, Item, Lit, Meta, TraitItem, UseTree, Visibility};

/// Markdown for the crate whose `lib.rs` is at `root`.
pub(crate) fn generate(root: &Path) -> Result<String> {
    let library = parse(root)?;
    let folder = root.parent().context("no folder")?;
    let mut page = Page(String::new());
    page.line(&format!("# kernel_api\n\n{}", documentation(&library.attrs)));

    let mut private = Vec::new();
    let mut public = Vec::new();
    for item in &library.items {
        if let Item::Mod(module) = item
            && !is_hidden(&module.attrs)
        {
            let name = module.ident.to_string();
            let file = parse(&folder.join(format!("{name}.rs")))?;
            if is_public(&module.vis) { public.push((name, file)) } else { private.push(file) }
        }
    }
    // What is in private modules is public if, and under the name that, lib.rs re-exports.
    let items: Vec<&Item> = private.iter().flat_map(|file| &file.items).collect();
    for name in library.items.iter().flat_map(exported) {
        describe_type(&name, &items, &mut page);
    }
    for (name, file) in &public {
        page.line(&format!("\n## kernel_api::{name}\n\n{}\n", documentation(&file.attrs)));
        for item in &file.items {
            if let Item::Fn(function) = item
                && is_public(&function.vis)
                && !is_hidden(&function.attrs)
            {
                page.entry(&signature(&function.sig), &function.attrs);
            }
        }
        let items: Vec<&Item> = file.items.iter().collect();
        for item in &file.items {
            let (name, visibility) = match item {
                Item::Struct(item) => (&item.ident, &item.vis),
                Item::Enum(item) => (&item.ident, &item.vis),
                _ => continue,
            };
            if is_public(visibility) {
                describe_type(&name.to_string(), &items, &mut page);
            }
        }
    }
    Ok(page.0)
}

fn parse(file: &Path) -> Result<syn::File> {
    let source = fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
    syn::parse_file(&source).with_context(|| format!("can't parse {}", file.display()))
}

/// The names that `pub use module::{A, B}` exports.
fn exported(item: &Item) -> Vec<String> {
    fn names(tree: &UseTree, found: &mut Vec<String>) {
        match tree {
            UseTree::Path(path) => names(&path.tree, found),
            UseTree::Name(name) => found.push(name.ident.to_string()),
            UseTree::Rename(rename) => found.push(rename.rename.to_string()),
            UseTree::Group(group) => group.items.iter().for_each(|tree| names(tree, found)),
            UseTree::Glob(_) => {}
        }
    }
    let mut found = Vec::new();
    if let Item::Use(import) = item
        && is_public(&import.vis)
    {
        names(&import.tree, &mut found);
    }
    found
}

/// A heading, the definition, and the methods of one type. Nothing for a hidden type.
fn describe_type(name: &str, items: &[&Item], page: &mut Page) {
    let is_shown = |ident: &syn::Ident, attributes: &[Attribute]| ident == name && !is_hidden(attributes);
    let mut found = false;
    for item in items {
        match item {
            Item::Struct(item) if is_shown(&item.ident, &item.attrs) => {
                page.heading("struct", name, &item.attrs);
                for field in item.fields.iter().filter(|field| is_public(&field.vis)) {
                    if let Some(name) = &field.ident {
                        page.entry(&format!("{name}: {}", compact(&field.ty)), &field.attrs);
                    }
                }
            }
            Item::Enum(item) if is_shown(&item.ident, &item.attrs) => {
                page.heading("enum", name, &item.attrs);
                variants(item, page);
            }
            Item::Trait(item) if is_shown(&item.ident, &item.attrs) => {
                page.heading("trait", name, &item.attrs);
                for item in &item.items {
                    if let TraitItem::Fn(method) = item {
                        page.entry(&signature(&method.sig), &method.attrs);
                    }
                }
            }
            _ => continue,
        }
        found = true;
    }
    let blocks = items.iter().filter_map(|item| match item {
        Item::Impl(block) if found && block.trait_.is_none() && is_named(&block.self_ty, name) => Some(block),
        _ => None,
    });
    for item in blocks.flat_map(|block| &block.items) {
        if let ImplItem::Fn(method) = item
            && is_public(&method.vis)
            && !is_hidden(&method.attrs)
        {
            page.entry(&signature(&method.sig), &method.attrs);
        }
    }
}

/// A line for each variant, or one for all if their names say everything.
fn variants(item: &syn::ItemEnum, page: &mut Page) {
    if item.variants.iter().all(|variant| documentation(&variant.attrs).is_empty()) {
        let names: Vec<String> = item.variants.iter().map(|variant| format!("`{}`", variant.ident)).collect();
        page.line(&names.join(", "));
    } else {
        for variant in &item.variants {
            let signature = format!("{}{}", variant.ident, compact(&variant.fields));
            page.entry(&signature, &variant.attrs);
        }
    }
}

/// The text as it grows.
struct Page(String);

impl Page {
    fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn heading(&mut self, kind: &str, name: &str, attributes: &[Attribute]) {
        self.line(&format!("\n### {kind} {name}\n\n{}\n", documentation(attributes)));
    }

    /// One line: what it is, and what it does.
    fn entry(&mut self, signature: &str, attributes: &[Attribute]) {
        self.line(&format!("- `{signature}`: {}", documentation(attributes).replace('\n', " ")));
    }
}

/// A prompt has better uses for its length than a hundred times `fn`.
fn signature(signature: &syn::Signature) -> String {
    let text = compact(signature);
    text.strip_prefix("fn ").map(str::to_owned).unwrap_or(text)
}

/// The source text on one line.
fn compact(node: &impl Spanned) -> String {
    let text = node.span().source_text().unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace("( ", "(").replace(", )", ")")
}

/// Documentation comments, their first space and their markup for links taken off.
fn documentation(attributes: &[Attribute]) -> String {
    let lines: Vec<String> = attributes
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
                Expr::Lit(literal) => match &literal.lit {
                    Lit::Str(line) => Some(line.value()),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        })
        .map(|line| line.strip_prefix(' ').unwrap_or(&line).replace("[`", "`").replace("`]", "`"))
        .collect();
    lines.join("\n").trim().to_owned()
}

fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("doc") && list.tokens.to_string() == "hidden",
        _ => false,
    })
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn is_named(ty: &syn::Type, name: &str) -> bool {
    matches!(ty, syn::Type::Path(path) if path.path.is_ident(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(files: &[(&str, &str)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        for (name, source) in files {
            fs::write(folder.path().join(name), source).unwrap();
        }
        generate(&folder.path().join("lib.rs")).unwrap()
    }

    #[test]
    fn only_what_is_exported_and_not_hidden_is_told() {
        let text = reference(&[
            (
                "lib.rs",
                "//! The crate.\npub use a::{Shown, Concealed};\nmod a;\npub mod free;\n#[doc(hidden)]\npub mod host;\n",
            ),
            (
                "a.rs",
                "/// A [`thing`].\npub struct Shown {\n/// Its size.\npub size: i32, secret: i32 }\n\
                impl Shown {\n/// Grows.\npub fn grow(\n    &self,\n    by: i32,\n) -> i32 { 1 }\nfn internal() {}\n\
                #[doc(hidden)]\npub fn back_door() {} }\n\
                #[doc(hidden)]\npub struct Concealed;\nimpl Concealed { pub fn new() {} }\npub struct Unexported;\n",
            ),
            ("free.rs", "//! Free functions.\n/// Adds.\npub fn add(a: i32) {}\nfn private() {}\n"),
            ("host.rs", "pub fn unwrap() {}\n"),
        ]);
        assert_eq!(
            text,
            "# kernel_api\n\nThe crate.\n\n### struct Shown\n\nA `thing`.\n\n- `size: i32`: Its size.\n\
            - `grow(&self, by: i32) -> i32`: Grows.\n\n## kernel_api::free\n\nFree functions.\n\n\
            - `add(a: i32)`: Adds.\n"
        );
    }

    #[test]
    fn the_kernel_apis_reference_says_what_a_kernel_needs_and_keeps_quiet_about_the_rest() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel-api/src/lib.rs");
        let text = generate(&root).unwrap();
        for needed in [
            "### trait Kernel",
            "- `forward(&self, x: &Array, adapter: &Adapter) -> Result<Array>`: ",
            "- `packed: Array`: `[output, input · bits / 32]`",
            "- `matmul(&self, other: &Self) -> Result<Self>`: ",
            "- `astype(&self, dtype: Dtype) -> Result<Self>`: ",
            "## kernel_api::ops",
            "- `quantized_matmul(x: &Array, packed: &Array, ",
            "### struct Function",
            "- `group(&self, layers: &[Layer]) -> Result<Option<Box<dyn KernelGroup>>>`: ",
            "### trait KernelGroup",
            "## kernel_api::gpu",
            "`Cpu`, `Metal`, `Cuda`",
            "### struct GpuKernel",
            "- `Quantized(QuantizedWeight)`: ",
        ] {
            assert!(text.contains(needed), "{needed} is not in\n{text}");
        }
        for kept in ["MlxLm", "mlx_rs", "into_mlx", "unsafe fn", "pub(crate)"] {
            assert!(!text.contains(kept), "{kept} is in\n{text}");
        }
        // It stands in every prompt: about 5000 tokens, with what DoRA, groups and GPU kernels need.
        assert!(text.len() < 16_500, "{} bytes", text.len());
    }

    #[test]
    fn everything_in_the_reference_is_documented() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernel-api/src/lib.rs");
        let text = generate(&root).unwrap();
        let bare: Vec<&str> =
            text.lines().filter(|line| line.starts_with("- `") && line.ends_with("`: ")).collect();
        assert!(bare.is_empty(), "{bare:?}");
    }
}
