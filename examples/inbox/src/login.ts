// Who is at the screen: by a login at the identity provider (OpenID Connect, code and PKCE), or by a pasted token.
// All of it is kept in sessionStorage: for this tab alone, and gone with it.
import { signal } from "@preact/signals";
import { UserManager, WebStorageStateStore } from "oidc-client-ts";

const settings = import.meta.env as Record<string, string | undefined>;
const { VITE_ISSUER, VITE_CLIENT_ID = "inbox", VITE_SCOPE = "openid", VITE_RESOURCE } = settings;
const PASTED = "pasted-token";
const home = `${location.origin}/`;
const store = new WebStorageStateStore({ store: sessionStorage });
// Some providers are asked by name for whom the access token is to be (RFC 8707); others know it by the client.
const resource = VITE_RESOURCE ? { resource: VITE_RESOURCE } : {};
const provider = VITE_ISSUER
  ? new UserManager({
      authority: VITE_ISSUER, client_id: VITE_CLIENT_ID, scope: VITE_SCOPE, ...resource,
      redirect_uri: home, post_logout_redirect_uri: home, userStore: store, stateStore: store,
      // It is renewed when it is needed: a page that nobody looks at asks for nothing.
      automaticSilentRenew: false,
    })
  : undefined;

export const hasProvider = Boolean(provider);
/** `ended`: the page stays as it is, with what is written on it, until its reader logs in again. */
export const session = signal<"out" | "in" | "ended">("out");

const user = async () => (provider && !sessionStorage.getItem(PASTED) ? provider.getUser() : null);

/** Takes what the provider has answered, if this page was opened by it, or what was kept. */
export async function begin(): Promise<void> {
  const query = new URLSearchParams(location.search);
  if (provider && query.has("state")) {
    // Refused, or an address that was opened once more: the page asks again.
    const user = await provider.signinCallback().catch(() => void (session.value = "ended"));
    // Back to where it was asked for.
    history.replaceState(null, "", `/${typeof user?.state === "string" ? user.state : ""}`);
  }
  if (session.value === "out" && (await token())) session.value = "in";
}

export async function logIn(): Promise<void> {
  sessionStorage.removeItem(PASTED);
  await provider?.signinRedirect({ state: location.hash });
}

export function logInWith(pasted: string): void {
  sessionStorage.setItem(PASTED, pasted.trim());
  location.reload();
}

export async function logOut(): Promise<void> {
  const left = await user();
  sessionStorage.clear();
  // Told to the provider, too, or its next login would need no password.
  if (left?.id_token) await provider?.signoutRedirect({ id_token_hint: left.id_token }).catch(() => location.reload());
  else location.reload();
}

export async function token(): Promise<string | undefined> {
  const kept = await user();
  if (kept?.refresh_token && (kept.expires_in ?? 0) < 30) await renew();
  return sessionStorage.getItem(PASTED) ?? (await user())?.access_token;
}

async function askForAnother(): Promise<boolean> {
  if (!(await user())?.refresh_token) return false;
  return Boolean(await provider?.signinSilent(resource).catch(() => null));
}
let renewing: Promise<boolean> | undefined;
/** Gets another token without asking anybody. A refresh token is good once: all who need it wait for one renewal. */
export const renew = () => (renewing ??= askForAnother().finally(() => (renewing = undefined)));
