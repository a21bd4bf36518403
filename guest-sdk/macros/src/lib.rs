//! The attributes of `lovage-guest`, which re-exports and documents them.
//!
//! **Invariant:** they only name things of `::lovage_guest`, so that a guest needs no other
//! dependency; what the code does with them is decided there, in functions that tests can call.

mod task;

use proc_macro::TokenStream;
use quote::quote;

/// Makes a function a task; documented in `lovage_guest`.
#[proc_macro_attribute]
pub fn task(options: TokenStream, function: TokenStream) -> TokenStream {
    let function = syn::parse_macro_input!(function as syn::ItemFn);
    let options = syn::parse_macro_input!(options as task::Options);
    task::expand(&options, &function).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Lets a struct or enum be a task's input and output; documented in `lovage_guest`.
#[proc_macro_attribute]
pub fn data(options: TokenStream, item: TokenStream) -> TokenStream {
    syn::parse_macro_input!(options as syn::parse::Nothing);
    let item = proc_macro2::TokenStream::from(item);
    quote! {
        #[derive(
            ::lovage_guest::serde::Serialize,
            ::lovage_guest::serde::Deserialize,
            ::lovage_guest::schemars::JsonSchema,
        )]
        #[serde(crate = "::lovage_guest::serde")]
        #[schemars(crate = "::lovage_guest::schemars")]
        #item
    }
    .into()
}
