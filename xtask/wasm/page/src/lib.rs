//! How does a component of a web framework show the messages of a server?
//!
//! The book includes this file. `cargo xtask wasm` checks it for browsers. Yew and not Leptos,
//! because it takes 85 crates for client-side rendering, and Leptos 173.

// ANCHOR: component
use std::rc::Rc;

use wasm_bindgen_futures::spawn_local;
use ws_client::{Dial, Reconnect, ReconnectingConn, StatusCode};
use yew::prelude::*;

/// The last lines.
#[derive(Clone, Default)]
struct Lines(Vec<String>);

impl Reducible for Lines {
    type Action = String;

    fn reduce(mut self: Rc<Self>, line: String) -> Rc<Self> {
        let Self(lines) = Rc::make_mut(&mut self);
        lines.push(line);
        lines.drain(..lines.len().saturating_sub(100));
        self
    }
}

#[derive(PartialEq, Properties)]
pub struct PricesProps {
    pub url: AttrValue,
}

#[component]
pub fn Prices(PricesProps { url }: &PricesProps) -> Html {
    let lines = use_reducer(Lines::default);
    let add = lines.dispatcher();
    // Runs when the component is mounted, and for another URL.
    use_effect_with(url.clone(), move |url| {
        let conn = Reconnect::new(Dial::new(url)).start();
        spawn_local(show(conn.clone(), add));
        // Runs when the component is unmounted, and before the next URL. It also ends `show`.
        move || {
            spawn_local(async move {
                let _ = conn.close(StatusCode::NORMAL_CLOSURE, "").await;
            });
        }
    });
    html! {
        <ul>
            { for lines.0.iter().map(|line| html! { <li>{ line }</li> }) }
        </ul>
    }
}

async fn show(conn: ReconnectingConn, add: UseReducerDispatcher<Lines>) {
    while let Ok(message) = conn.read().await {
        add.dispatch(message.as_text().unwrap_or("binary").to_owned());
    }
}
// ANCHOR_END: component
