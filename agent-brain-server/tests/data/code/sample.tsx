import React from "react";

type Props = { title: string };

export const Header = ({ title }: Props) => <h1>{title}</h1>;

export function Page() {
  return (
    <main>
      <Header title="x" />
    </main>
  );
}
