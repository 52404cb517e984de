package sponsorship.bench;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.ObjectWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.state.KeyValueStore;

/** Kafka Streams: an aggregate by employee over a JSON topic, RocksDB with a changelog. */
public final class Tallies {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final int REMEMBERED = 5;

    private Tallies() {}

    @JsonIgnoreProperties(ignoreUnknown = true)
    record Achievement(String title, int impact) {}

    @JsonIgnoreProperties(ignoreUnknown = true)
    record Recorded(@JsonProperty("employee_id") String employeeId, Achievement achievement) {}

    record Tally(int count, long impact, List<String> titles) {
        Tally plus(Achievement achievement) {
            List<String> newest = new ArrayList<>(REMEMBERED);
            newest.addAll(titles.subList(Math.max(0, titles.size() - REMEMBERED + 1), titles.size()));
            newest.add(achievement.title());
            return new Tally(count + 1, impact + achievement.impact(), newest);
        }
    }

    public static void main(String[] arguments) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, System.getenv("BENCH_GROUP"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("BENCH_BOOTSTRAP_SERVERS"));
        settings.put(StreamsConfig.STATE_DIR_CONFIG, System.getenv("BENCH_STATE_DIR"));
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        double commitSeconds = Double.parseDouble(System.getenv("BENCH_COMMIT_SECONDS"));
        settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, (long) (1000 * commitSeconds));
        settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");

        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(System.getenv("BENCH_TOPIC"), Consumed.with(Serdes.String(), json(Recorded.class)))
                .groupByKey()
                .aggregate(
                        () -> new Tally(0, 0, List.of()),
                        (employee, event, tally) -> tally.plus(event.achievement()),
                        Materialized.<String, Tally, KeyValueStore<Bytes, byte[]>>as("tallies")
                                .withKeySerde(Serdes.String())
                                .withValueSerde(json(Tally.class)));

        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        CloseOptions leave = CloseOptions.groupMembershipOperation(CloseOptions.GroupMembershipOperation.LEAVE_GROUP);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(leave)));
        streams.start();
    }

    private static <T> Serde<T> json(Class<T> type) {
        ObjectReader reader = JSON.readerFor(type);
        ObjectWriter writer = JSON.writerFor(type);
        return Serdes.serdeFrom(
                (topic, value) -> {
                    try {
                        return value == null ? null : writer.writeValueAsBytes(value);
                    } catch (JsonProcessingException e) {
                        throw new UncheckedIOException(e);
                    }
                },
                (topic, bytes) -> {
                    try {
                        return bytes == null ? null : reader.readValue(bytes);
                    } catch (IOException e) {
                        throw new UncheckedIOException(e);
                    }
                });
    }
}
