using System;

namespace Example.Net
{
    /// <summary>Talks to one host.</summary>
    [Serializable]
    public class Client
    {
        public const int MaxRetries = 3;

        public Client(string host)
        {
        }

        public string Host { get; set; }

        public void Send(byte[] data)
        {
        }
    }

    public interface ISender
    {
        void Send(byte[] data);
    }

    public enum State { Open }

    public struct Point { }

    public record Answer(int Code);

    public delegate void Handler(string data);
}
