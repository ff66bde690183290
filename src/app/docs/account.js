// Who tries operations: a token that was pasted, or one that the service gives for a password or a secret (OAuth 2).

import { make } from "./elements.js";

/** Where the service is: the page stands beside it, so that a proxy may serve both below a path of its own. */
export const base = new URL("..", document.baseURI);

/** The address of a path of the document. */
export const addressOf = (path) => new URL(path.replace(/^\//, ""), base);

const KEPT = "skranke-token";

/** The token, which lives as long as the tab does; empty if there is none. */
export const token = () => sessionStorage.getItem(KEPT) ?? "";

const FLOWS = {
  password: {
    title: "A person, by password",
    grant: "password",
    fields: [
      ["username", "Email address", "email"],
      ["password", "Password", "password"],
    ],
  },
  clientCredentials: {
    title: "A service account",
    grant: "client_credentials",
    fields: [
      ["client_id", "Client id", "text"],
      ["client_secret", "Client secret", "password"],
    ],
  },
};

/** The dialog in which one says who one is; `button` opens it, and tells who that is. */
export function accountDialog(schemes, button) {
  const status = make("p", { role: "status", id: "account-status" });
  const forms = Object.entries(schemes).flatMap(([name, scheme]) =>
    scheme.type === "oauth2"
      ? Object.entries(scheme.flows).map(([kind, flow]) => flowForm(kind, flow, become, status))
      : [tokenForm(name, become)],
  );
  const leave = make("button", { type: "button", id: "leave", click: () => become("") }, "Forget the token");
  const close = make("button", { type: "button", id: "close", click: () => dialog.close() }, "Close");
  const dialog = make(
    "dialog",
    { "aria-label": "Authorize" },
    make("h2", {}, "Authorize"),
    status,
    forms,
    make("p.row", {}, leave, close),
  );

  async function become(fresh) {
    if (fresh) sessionStorage.setItem(KEPT, fresh);
    else sessionStorage.removeItem(KEPT);
    await tell();
  }

  async function tell() {
    const [said, name] = token() ? await whoIs() : ["There is no token.", undefined];
    status.textContent = said;
    button.textContent = name ?? "Authorize";
    leave.hidden = !token();
  }

  button.addEventListener("click", () => dialog.showModal());
  button.disabled = false;
  tell();
  return dialog;
}

async function whoIs() {
  try {
    const answer = await fetch(addressOf("/v1/me"), {
      headers: { authorization: `Bearer ${token()}` },
      credentials: "omit",
    });
    const body = await answer.json();
    if (!answer.ok) return [`The token is not taken: ${body.detail}`, undefined];
    const kind = body.role ?? "service account";
    return [`You are ${body.name} (${kind}), with the scopes ${body.scopes.join(", ") || "none"}.`, body.name];
  } catch {
    return ["The service cannot be reached.", undefined];
  }
}

function tokenForm(name, become) {
  const submit = (event) => {
    event.preventDefault();
    const given = event.target.elements.token;
    become(given.value.trim().replace(/^Bearer\s+/i, ""));
    given.value = "";
  };
  return make(
    "form",
    { id: `by-${name}`, submit },
    make("h3", {}, "A token that you have"),
    make("label", {}, "Token", make("input", { name: "token", type: "password", required: true, autocomplete: "off" })),
    make("button", { type: "submit" }, "Use it"),
  );
}

function flowForm(kind, { tokenUrl, scopes }, become, status) {
  const flow = FLOWS[kind];
  if (!flow) return "";
  const submit = async (event) => {
    event.preventDefault();
    const filled = [...new FormData(event.target)].filter(([, value]) => value !== "");
    const body = new URLSearchParams([["grant_type", flow.grant], ...filled]);
    status.textContent = "…";
    try {
      const answer = await fetch(addressOf(tokenUrl), { method: "POST", body, credentials: "omit" });
      const given = await answer.json();
      if (!answer.ok) return (status.textContent = given.detail ?? given.error_description ?? given.error);
      event.target.reset();
      await become(given.access_token);
    } catch {
      status.textContent = "The service cannot be reached.";
    }
  };
  const fields = flow.fields.map(([name, label, type]) =>
    make(
      "label",
      {},
      label,
      make("input", {
        name,
        type,
        required: true,
        autocomplete: type === "password" ? "current-password" : "username",
      }),
    ),
  );
  const narrower = make("input", {
    name: "scope",
    type: "text",
    placeholder: "all that can be granted",
    list: `scopes-${kind}`,
  });
  const known = Object.entries(scopes).map(([scope, doc]) => make("option", { value: scope }, doc));
  return make(
    "form",
    { id: `by-${kind}`, submit },
    make("h3", {}, flow.title),
    fields,
    make("label", {}, "Scopes", narrower, make("datalist", { id: `scopes-${kind}` }, known)),
    make("button", { type: "submit" }, "Get a token"),
  );
}
