interface ViteTypeOptions {
  strictImportMetaEnv: unknown;
}
type Setting = "VITE_ISSUER" | "VITE_CLIENT_ID" | "VITE_SCOPE" | "VITE_RESOURCE";
interface ImportMetaEnv extends Readonly<Partial<Record<Setting, string>>> {}
