// Pages and API are one origin, so that a browser asks for no leave beforehand (no CORS, no preflights).
import { defineConfig, loadEnv } from "vite";

export default defineConfig(({ mode }) => {
  const { SKRANKE_URL = "http://127.0.0.1:8080", VITE_ISSUER = "" } = loadEnv(mode, ".", ["SKRANKE_URL", "VITE_"]);
  const proxy = { "/v1": SKRANKE_URL, "/file-links": SKRANKE_URL };
  const provider = VITE_ISSUER && new URL(VITE_ISSUER).origin;
  // What else a page could be made to do by a text of somebody, should one slip through. Say the same where it is served for good.
  const policy = `default-src 'self'; img-src 'self' blob: data:; connect-src 'self' ${provider}; frame-ancestors 'none'; base-uri 'none'`;
  return {
    server: { proxy },
    preview: { proxy, headers: { "Content-Security-Policy": policy, "Referrer-Policy": "no-referrer" } },
  };
});
