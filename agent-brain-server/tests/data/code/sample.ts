import { Socket } from "net";

export interface Options {
  host: string;
}

export type Handler = (data: string) => void;

export enum State {
  Open,
  Closed,
}

namespace Wire {
  export function encode(text: string): string {
    return text;
  }
}

@sealed
export abstract class Client {
  abstract close(): void;

  async send(data: string): Promise<void> {}
}

export const connect = async (options: Options) => new Socket();

declare function describe(name: string): void;
