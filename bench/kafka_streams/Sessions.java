import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * A peer of the worker, by the Processor API: one row a session in a state store with its changelog, an event when a session begins or ends.
 * Its update is thin: no limits, no ids, no order of events. Arguments: BOOTSTRAP TOPIC EVENTS RECORDS APPLICATION DIRECTORY THREADS memory|rocksdb.
 * The clock runs from the first record to the last, so neither start nor recovery counts; one JSON object goes to standard output.
 */
public class Sessions implements Processor<byte[], byte[], byte[], byte[]> {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final OperatingSystemMXBean SYSTEM = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    private static final String[] KEPT = {"user_name", "nas", "received_ms", "session_time_s", "input_octets", "output_octets"};
    private static final AtomicLong seen = new AtomicLong();
    private static volatile long beganNs, usedNs, wanted;
    private ProcessorContext<byte[], byte[]> context;
    private KeyValueStore<String, byte[]> sessions;

    @Override
    public void init(ProcessorContext<byte[], byte[]> given) {
        context = given;
        sessions = given.getStateStore("sessions");
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        if (beganNs == 0) {
            usedNs = SYSTEM.getProcessCpuTime();
            beganNs = System.nanoTime();
        }
        try {
            if (record.key() != null) update(record);
        } catch (java.io.IOException broken) {
            throw new IllegalStateException(broken);
        }
        if (seen.incrementAndGet() != wanted) return;
        double seconds = (System.nanoTime() - beganNs) / 1e9, cpu = (SYSTEM.getProcessCpuTime() - usedNs) / 1e9;
        System.out.printf("{\"records\": %d, \"seconds\": %.6f, \"cpu_s\": %.6f}%n", wanted, seconds, cpu);
        System.out.flush();
        Runtime.getRuntime().halt(0); // an orderly stop takes seconds and is not measured
    }

    private void update(Record<byte[], byte[]> record) throws java.io.IOException {
        JsonNode said = JSON.readTree(record.value());
        String key = said.path("nas").asText() + "/" + said.path("acct_session_id").asText(), status = said.path("status").asText();
        byte[] before = sessions.get(key);
        ObjectNode row = before == null ? JSON.createObjectNode() : (ObjectNode) JSON.readTree(before);
        for (String name : KEPT) row.set(name, said.get(name));
        row.put("state", status.equals("Stop") ? "closed" : "open");
        sessions.put(key, JSON.writeValueAsBytes(row));
        if (before != null && !status.equals("Stop")) return;
        ObjectNode event = row.deepCopy().put("type", before == null ? "session.opened" : "session.closed").put("session", key);
        context.forward(record.withKey(key.getBytes(StandardCharsets.UTF_8)).withValue(JSON.writeValueAsBytes(event)));
    }

    public static void main(String[] given) {
        wanted = Long.parseLong(given[3]);
        Properties settings = new Properties();
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, given[0]);
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, given[4]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, given[5]);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, given[6]);
        settings.put("auto.offset.reset", "earliest");
        var store = given[7].equals("memory") ? Stores.inMemoryKeyValueStore("sessions") : Stores.persistentKeyValueStore("sessions");
        Topology topology = new Topology();
        topology.addSource("journal", Serdes.ByteArray().deserializer(), Serdes.ByteArray().deserializer(), given[1]);
        topology.addProcessor("session", Sessions::new, "journal");
        topology.addStateStore(Stores.keyValueStoreBuilder(store, Serdes.String(), Serdes.ByteArray()), "session");
        topology.addSink("events", given[2], Serdes.ByteArray().serializer(), Serdes.ByteArray().serializer(), "session");
        new KafkaStreams(topology, settings).start();
    }
}
