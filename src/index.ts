import { loadConfig } from "./config/load";
import { deploy } from "./deploy";

export = () => deploy(loadConfig());
