//! `#[task]`: keeps the function as it is and adds a type of the same name that says how it is
//! described and called.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ext::IdentExt as _;
use syn::spanned::Spanned as _;
use syn::{Attribute, Error, Expr, FnArg, Ident, ItemFn, Lit, LitStr, Meta, Pat, ReturnType, Type};

/// What may stand in the brackets of `#[task(...)]`.
#[derive(Default)]
pub(crate) struct Options {
    name: Option<LitStr>,
    media_type: Option<LitStr>,
}

struct Argument {
    name: String,
    variable: Ident,
    type_: Type,
}

/// The longest name that the platform takes for a task.
const NAME_LEN_MAX: usize = 64;

pub(crate) fn expand(options: &Options, function: &ItemFn) -> syn::Result<TokenStream> {
    refuse_what_cannot_be_called(function)?;
    let ident = &function.sig.ident;
    let visibility = &function.vis;
    let name = match &options.name {
        Some(name) => checked_name(&name.value(), name.span())?,
        None => checked_name(&ident.unraw().to_string(), ident.span())?,
    };
    let summary = summary(&function.attrs);
    let arguments = arguments(function)?;
    let (read, input_schema) = reading(&arguments);
    let (write, output_schema, media_type) = writing(options, function, &arguments);

    Ok(quote! {
        // A task owns what it was sent, also where it only looks at it.
        #[allow(clippy::needless_pass_by_value)]
        #function

        #[doc(hidden)]
        #[allow(non_camel_case_types)]
        #visibility struct #ident {}

        impl ::lovage_guest::Task for #ident {
            const NAME: &'static str = #name;

            fn description() -> ::lovage_guest::Description {
                ::lovage_guest::Description {
                    name: #name,
                    summary: #summary,
                    input_schema: #input_schema,
                    output_schema: #output_schema,
                    media_type: #media_type,
                }
            }

            fn call(
                input: &[u8],
            ) -> ::core::result::Result<::lovage_guest::Encoded, ::lovage_guest::Failure> {
                #read
                #write
            }
        }
    })
}

/// The code that makes variables of the input, and the schema of that input.
fn reading(arguments: &[Argument]) -> (TokenStream, TokenStream) {
    let types: Vec<_> = arguments.iter().map(|argument| &argument.type_).collect();
    let variables: Vec<_> = arguments.iter().map(|argument| &argument.variable).collect();
    let names: Vec<_> = arguments.iter().map(|argument| &argument.name).collect();
    match arguments {
        [] => (
            quote! { ::lovage_guest::__private::no_argument(input)?; },
            quote! { ::lovage_guest::__private::schema_of_nothing() },
        ),
        [_] => (
            quote! { #(let #variables = ::lovage_guest::__private::one_argument(input)?;)* },
            quote! { #(::lovage_guest::__private::schema_of_input::<#types>())* },
        ),
        _ => (
            quote! {
                let arguments = ::lovage_guest::__private::Arguments::read(input, &[#(#names),*])?;
                #(let #variables = arguments.take(#names)?;)*
            },
            quote! {
                ::lovage_guest::__private::ArgumentsSchema::new()
                    #(.argument::<#types>(#names))*
                    .finish()
            },
        ),
    }
}

/// The code that calls the function and encodes what it returns, the schema of that, and its media
/// type.
fn writing(options: &Options, function: &ItemFn, arguments: &[Argument]) -> (TokenStream, TokenStream, TokenStream) {
    let ident = &function.sig.ident;
    let variables = arguments.iter().map(|argument| &argument.variable);
    let (output, fallible) = output(&function.sig.output);
    let mut result = quote! { #ident(#(#variables),*) };
    if fallible {
        result = quote! { #result.map_err(::lovage_guest::Failure::from)? };
    }
    match &options.media_type {
        Some(media_type) => (
            quote! { ::lovage_guest::__private::encode_bytes(#result) },
            quote! { ::core::option::Option::None },
            quote! { ::core::option::Option::Some(#media_type) },
        ),
        None => (
            quote! { ::lovage_guest::__private::encode(#result) },
            quote! { <#output as ::lovage_guest::Output>::schema() },
            quote! { ::core::option::Option::None },
        ),
    }
}

impl syn::parse::Parse for Options {
    fn parse(input: syn::parse::ParseStream<'_>) -> syn::Result<Self> {
        let mut options = Self::default();
        while !input.is_empty() {
            let key = input.call(Ident::parse_any)?;
            input.parse::<syn::Token![=]>()?;
            let value: LitStr = input.parse()?;
            match key.to_string().as_str() {
                "name" => options.name = Some(value),
                "media_type" => options.media_type = Some(value),
                _ => return Err(Error::new(key.span(), "expected `name` or `media_type`")),
            }
            if !input.is_empty() {
                input.parse::<syn::Token![,]>()?;
            }
        }
        Ok(options)
    }
}

fn refuse_what_cannot_be_called(function: &ItemFn) -> syn::Result<()> {
    let signature = &function.sig;
    if signature.asyncness.is_some() {
        return Err(Error::new(signature.asyncness.span(), "a task is a plain function: remove `async`"));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new(signature.generics.span(), "a task's types must be known: remove the generics"));
    }
    Ok(())
}

fn checked_name(name: &str, span: proc_macro2::Span) -> syn::Result<String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if name.is_empty() || name.len() > NAME_LEN_MAX || !name.chars().all(fits) {
        return Err(Error::new(span, "a task's name is 1 to 64 of a-z, 0-9, `_` and `-`"));
    }
    Ok(name.to_owned())
}

/// The doc comment's lines, each without the space that `///` leaves before it.
fn summary(attributes: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
        if let Meta::NameValue(doc) = &attribute.meta
            && let Expr::Lit(value) = &doc.value
            && let Lit::Str(text) = &value.lit
        {
            let text = text.value();
            lines.push(text.strip_prefix(' ').unwrap_or(&text).to_owned());
        }
    }
    lines.join("\n").trim().to_owned()
}

fn arguments(function: &ItemFn) -> syn::Result<Vec<Argument>> {
    let mut arguments = Vec::new();
    for (position, input) in function.sig.inputs.iter().enumerate() {
        let FnArg::Typed(argument) = input else {
            return Err(Error::new(input.span(), "a task is a plain function: remove `self`"));
        };
        if let Type::Reference(reference) = &*argument.ty {
            return Err(Error::new(reference.span(), "a task owns its arguments: take `String`, `Vec<_>` or `Bytes`"));
        }
        // An unused argument is spelled `_name` in Rust; callers need not know.
        let mut name = String::new();
        if let Pat::Ident(pattern) = &*argument.pat {
            name = pattern.ident.unraw().to_string().trim_start_matches('_').to_owned();
        }
        if name.is_empty() {
            name = format!("argument{position}");
        }
        arguments.push(Argument { name, variable: format_ident!("argument{position}"), type_: (*argument.ty).clone() });
    }
    Ok(arguments)
}

/// The type of the output, and whether the function answers with a result that carries it.
/// A result is recognised by its name, since no trait can tell it from other serialisable types.
fn output(declared: &ReturnType) -> (TokenStream, bool) {
    let ReturnType::Type(_, declared) = declared else { return (quote! { () }, false) };
    if let Type::Path(path) = &**declared
        && path.path.segments.last().is_some_and(|last| last.ident == "Result")
    {
        return (quote! { <#declared as ::lovage_guest::__private::Fallible>::Value }, true);
    }
    (quote! { #declared }, false)
}
