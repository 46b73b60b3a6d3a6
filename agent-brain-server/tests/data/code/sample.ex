defmodule Net.Client do
  @moduledoc """
  Talks to one host.
  """

  @max_retries 3

  defstruct [:host]

  @doc "Sends."
  @spec send(t, binary) :: :ok
  def send(client, data) when is_binary(data) do
    :ok
  end

  defp attempt(client), do: client

  defmacro retry(block) do
    block
  end
end

defprotocol Net.Sender do
  def send(client, data)
end

defimpl Net.Sender, for: Net.Client do
  def send(_client, _data), do: :ok
end
