// An identity provider for tries and tests: whoever comes is who they say, and nora@… works at the desk. Not for use.

import { generateKeyPairSync, randomBytes } from "node:crypto";

// Version 8 is the last one that runs on Node.js 18.
import { Provider } from "oidc-provider";

const AGENTS = /^(nora|omar)@/;
const nameOf = (email) => email.replace(/@.*/, "").replace(/^./, (first) => first.toUpperCase());

/** Starts it at `issuer` for the pages at `page`. */
export async function startProvider(issuer, page) {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const provider = new Provider(issuer, {
    jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), kid: "one", use: "sig", alg: "RS256" }] },
    cookies: { keys: [randomBytes(16).toString("hex")] },
    clients: [
      {
        client_id: "inbox",
        token_endpoint_auth_method: "none",
        grant_types: ["authorization_code", "refresh_token"],
        redirect_uris: [`${page}/`],
        post_logout_redirect_uris: [`${page}/`],
      },
    ],
    clientBasedCORS: () => true,
    issueRefreshToken: () => true,
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    extraTokenClaims: (_, token) => ({
      email: token.accountId,
      email_verified: true,
      name: nameOf(token.accountId),
      roles: AGENTS.test(token.accountId) ? ["desk"] : [],
    }),
    features: {
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: "",
          audience: "skranke",
          accessTokenFormat: "jwt",
          accessTokenTTL: 3600,
          jwt: { sign: { alg: "RS256" } },
        }),
      },
    },
  });
  const server = provider.listen(Number(new URL(issuer).port), "127.0.0.1");
  await new Promise((listening) => server.once("listening", listening));
  return server;
}
